package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/comtrexx-cloud/comtrexx/ccc/audit"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// auditPage is how many entries are read at once.
const auditPage = 1000

// AuditExportQuery is what is to be in the file.
type AuditExportQuery struct {
	Format string `query:"format" enum:"jsonl,csv" default:"jsonl"`
	After  int64  `query:"after" minimum:"0" doc:"Only what comes after the entry with this number: the rest of an older export"`
}

// export is an audit log on its way out.
type export struct {
	start audit.Start
	last  audit.Head
	head  string // signed
}

// exportAudit is told of in the log itself before it begins, so that it is in the file.
func (a *API) exportAudit(ctx context.Context, in *AuditExportQuery) (*huma.StreamResponse, error) {
	who := mustActor(ctx)
	if err := a.cfg.Store.Settle(ctx, store.ActOf(ctx), audit.Done); err != nil {
		return nil, err
	}
	x, err := a.export(ctx, who.tenant.ID, in.After)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		h := w.Header()
		h.Set("Content-Type", "application/jsonl")
		if in.Format == "csv" {
			h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
		}
		h.Set("Content-Disposition", `attachment; filename="audit-`+time.Now().UTC().Format(time.DateOnly)+"."+in.Format+`"`)
		if err := a.writeExport(ctx.Context(), w, who.tenant.ID, x, in.Format); err != nil {
			if ctx.Context().Err() == nil {
				a.log.Error("an export of the audit log ended early", "tenant", who.tenant.ID, "error", err)
			}
			panic(http.ErrAbortHandler) // so that the client sees that it is not all
		}
	}}, nil
}

// export looks where the log begins and ends.
func (a *API) export(ctx context.Context, tenant store.TenantID, after int64) (x export, err error) {
	var from audit.Head
	err = a.cfg.Store.View(ctx, func(tx *store.Tx) error {
		chain, err := tx.AuditChain(tenant)
		if err != nil {
			return err
		}
		x.last, from = chain.Last, chain.Swept
		if after > chain.Last.Seq {
			return problem(CodeInvalid, "", FieldError{"query.after", FieldRange, "is after the last entry"})
		}
		if after > from.Seq {
			e, err := tx.AuditEntry(tenant, after)
			if err != nil {
				return err
			}
			from.Seq, from.Hash = e.Seq, e.Hash
		}
		return nil
	})
	if err != nil {
		return x, err
	}
	x.start = audit.Start{Tenant: string(tenant), After: from.Seq, Hash: from.Hash}
	from.At, x.last.At = time.Now(), time.Now()
	if from.Seq > 0 {
		if x.start.Head, err = a.signHead(ctx, from); err != nil {
			return x, err
		}
	}
	x.head, err = a.signHead(ctx, x.last)
	return x, err
}

// entryWriter is where entries are written to.
type entryWriter interface {
	Add(e audit.Entry, hash audit.Hash) error
}

func (a *API) writeExport(ctx context.Context, w http.ResponseWriter, tenant store.TenantID, x export, format string) error {
	var to entryWriter
	var end func() error
	if format == "csv" {
		csv, err := audit.NewCSV(w)
		if err != nil {
			return err
		}
		to, end = csv, csv.End
	} else {
		lines := audit.NewWriter(w, x.start)
		to, end = lines, func() error { return lines.End(x.head) }
	}
	control := http.NewResponseController(w)
	for after := x.start.After; after < x.last.Seq; {
		var some []store.AuditEntry
		err := a.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			some, err = tx.AuditAfter(tenant, after, int(min(auditPage, x.last.Seq-after)))
			return err
		})
		if err == nil && len(some) == 0 {
			err = io.ErrUnexpectedEOF // removed meanwhile
		}
		if err != nil {
			return err
		}
		for _, e := range some {
			if err := to.Add(e.Entry, e.Hash); err != nil {
				return err
			}
			after = e.Seq
		}
		if err := control.SetWriteDeadline(time.Now().Add(a.cfg.Limits.AnswerTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
	}
	return end()
}
