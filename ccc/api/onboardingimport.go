package api

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/onboarding"
	"github.com/comtrexx-cloud/comtrexx/ccc/pairing"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
)

// importedAtOnce is how many lines are added in one transaction: others wait for it, and
// who watches sees how far it is.
const importedAtOnce = 25

func (a *API) importSystems(ctx context.Context, in *importInput) (*huma.StreamResponse, error) {
	if kind, parameters, err := mime.ParseMediaType(in.Type); err != nil || kind != "text/csv" || !isUTF8(parameters["charset"]) {
		return nil, problem(CodeMediaType, "text/csv in UTF-8 is wanted")
	}
	list, err := onboarding.Parse(in.RawBody, a.cfg.Limits.ImportLines)
	if wrong, ok := errors.AsType[*onboarding.Error](err); ok {
		return nil, problem(CodeInvalid, "", FieldError{"body", listFaults[wrong.Code], wrong.Message})
	}
	if in.DryRun {
		looked(ctx)
	}
	if act := store.ActOf(ctx); act != nil {
		act.Each = true
	}
	who := mustActor(ctx)
	job := &importJob{api: a, who: who, dry: in.DryRun, create: in.Missing == "create", list: list}
	if err := job.plan(ctx); err != nil {
		return nil, err
	}
	if strings.Contains(in.Accept, ndjson) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) { job.stream(ctx) }}, nil
	}
	if err := job.run(ctx, func([]ImportLine) error { return nil }); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		ctx.SetHeader("Content-Type", "application/json")
		ctx.SetStatus(http.StatusOK)
		_ = json.NewEncoder(ctx.BodyWriter()).Encode(ImportReport{job.summary(), job.lines}) // the client is gone where that fails
	}}, nil
}

func isUTF8(charset string) bool { return charset == "" || strings.EqualFold(charset, "utf-8") }

// listFaults are the codes of lists that cannot be read at all.
var listFaults = map[onboarding.Code]FieldCode{
	onboarding.Required: FieldRequired, onboarding.TooMany: FieldTooMany, onboarding.Duplicate: FieldDuplicate, onboarding.Encoding: FieldPattern,
}

// stream runs the job and tells of it line by line.
func (j *importJob) stream(ctx huma.Context) {
	_, w := humago.Unwrap(ctx)
	ctx.SetHeader("Content-Type", ndjson)
	ctx.SetStatus(http.StatusOK)
	control, to := http.NewResponseController(w), json.NewEncoder(w)
	send := func(events ...ImportEvent) error {
		// Not every writer has deadlines, or something to flush: a test's has none.
		_ = control.SetWriteDeadline(time.Now().Add(j.api.cfg.Limits.AnswerTimeout))
		for _, e := range events {
			if err := to.Encode(e); err != nil {
				return err
			}
		}
		_ = control.Flush()
		return nil
	}
	total := len(j.lines)
	err := send(ImportEvent{Total: &total})
	if err == nil {
		err = j.run(ctx.Context(), func(done []ImportLine) error {
			events := make([]ImportEvent, len(done))
			for i := range done {
				events[i].Line = &done[i]
			}
			return send(events...)
		})
	}
	last := ImportEvent{}
	if err != nil {
		p, ok := asProblem(j.api.answer("importSystems", err))
		if !ok {
			p = problem(CodeInternal, "")
		}
		last.Problem = p
	} else {
		sum := j.summary()
		last.Summary = &sum
	}
	_ = send(last) // the client is gone where that fails
}

// run adds what the plan has found new, and tells of the lines as they are done.
func (j *importJob) run(ctx context.Context, done func([]ImportLine) error) error {
	if !j.dry {
		if err := j.makePlaces(ctx); err != nil {
			return err
		}
	}
	for first := 0; first < len(j.lines); first += importedAtOnce {
		some := slices.Collect(sequence(first, min(first+importedAtOnce, len(j.lines))))
		if !j.dry {
			if err := j.save(ctx, slices.DeleteFunc(slices.Clone(some), func(i int) bool { return j.lines[i].Outcome != ImportCreated })); err != nil {
				return err
			}
		}
		if err := done(j.lines[first : first+len(some)]); err != nil {
			return err
		}
	}
	return nil
}

func sequence(from, to int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := from; i < to && yield(i); i++ {
		}
	}
}

// save adds the systems of some lines.
func (j *importJob) save(ctx context.Context, some []int) error {
	if len(some) == 0 {
		return nil
	}
	all := make([]pairing.NewSystem, len(some))
	for n, i := range some {
		l := j.list.Lines[i]
		all[n] = pairing.NewSystem{Serial: string(l.Serial), Name: l.Name, Note: l.Note, Tags: l.Tags}
		all[n].Site, _ = j.sites.find(l.Site)
		for _, name := range l.Groups {
			group, _ := j.groups.find(name)
			all[n].Groups = append(all[n].Groups, group)
		}
	}
	saved, err := j.api.cfg.Pairing.SaveAll(ctx, j.who.pairing(), all)
	if err != nil {
		return err
	}
	for n, i := range some {
		if line := &j.lines[i]; saved[n].Err == nil {
			line.SystemID = string(saved[n].System.ID)
		} else {
			j.refused(ctx, line, saved[n].Err)
		}
	}
	return nil
}

// refused is for a line that was right when the plan was made.
func (j *importJob) refused(ctx context.Context, line *ImportLine, err error) {
	line.Outcome = ImportRefused
	switch pairing.CodeOf(err) {
	case pairing.CodeQuotaOffers:
		line.Errors = append(line.Errors, ImportError{Code: importQuota, Message: quotaMessage})
	case pairing.CodeSerialTaken:
		// Somebody else was faster; the same list again says which one it is.
		line.Outcome = ImportExists
		j.known(ctx, line)
	default:
		line.Errors = append(line.Errors, ImportError{Code: importReference, Message: "its site or a group was removed at this moment"})
	}
}

const quotaMessage = "as many systems as may be have been imported today; send the list again tomorrow"

// summary counts.
func (j *importJob) summary() ImportSummary {
	s := ImportSummary{
		DryRun: j.dry, Lines: len(j.lines), Columns: texts(j.list.Columns), Ignored: j.list.Ignored,
		NewSites: j.newSites, NewGroups: j.newGroups,
	}
	for _, l := range j.lines {
		switch l.Outcome {
		case ImportCreated:
			s.Created++
		case ImportExists:
			s.Exists++
		case ImportInvalid:
			s.Invalid++
		case ImportRefused:
			s.Refused++
		}
	}
	return s
}

// texts makes texts of ids and the like.
func texts[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = string(v)
	}
	return out
}

// mayAdd tells whether the actor may add a system at a site, which may be none. That gives
// those who have rights there rights to a system that nobody had before.
func (a actor) mayAdd(r access.Resource) bool { return a.may.May(access.SystemPair, r) }
