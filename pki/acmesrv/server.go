package acmesrv

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/smallstep/certificates/acme"
	acmeapi "github.com/smallstep/certificates/acme/api"
	step "github.com/smallstep/certificates/authority"
	"github.com/smallstep/certificates/authority/config"
	"github.com/smallstep/certificates/authority/policy"
	"github.com/smallstep/certificates/authority/provisioner"

	"github.com/comtrexx-cloud/comtrexx/configs"
	"github.com/comtrexx-cloud/comtrexx/pki/enrol"
	"github.com/comtrexx-cloud/comtrexx/pki/identity"
	"github.com/comtrexx-cloud/comtrexx/pki/internal/ratelimit"
	"github.com/comtrexx-cloud/comtrexx/pki/profile"
)

// Prefix is where the API is mounted.
const Prefix = "/acme"

// DirectoryPath is the path of a role's directory, where ACME clients start.
func DirectoryPath(role string) string { return Prefix + "/" + role + "/directory" }

const (
	maxBody = 16 << 10 // of a request; a CSR with a long RSA key and many names takes 4
	// leastLife is what must be left of the intermediate for it to sign at all.
	leastLife = time.Minute
)

// Server is the ACME server, an [http.Handler] for a TLS listener of its own. It
// runs nothing in the background. Make it with [New].
type Server struct {
	cfg      Config
	auth     *step.Authority
	store    *store
	roles    map[string]role // by name; those of cfg
	requests *ratelimit.Limiter[netip.Prefix]
	handler  http.Handler
}

var _ http.Handler = (*Server)(nil)

// Issuer is the intermediate that signs.
func (s *Server) Issuer() *x509.Certificate { return s.cfg.Issuer }

// New checks the configuration and prepares the storage.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.DB == nil || cfg.Issuer == nil || cfg.Key == nil || len(cfg.Roots) == 0 {
		return nil, errors.New("acmesrv: DB, Issuer, Key and Roots are needed")
	}
	if !enrol.SameKey(cfg.Key.Public(), cfg.Issuer.PublicKey) {
		return nil, errors.New("acmesrv: the key is not that of the issuer")
	}
	cfg = cfg.withDefaults()
	cfg.Dial = maps.Clone(cfg.Dial)
	cfg.DB = guarded{cfg.DB}
	s := &Server{
		cfg:      cfg,
		roles:    make(map[string]role),
		requests: ratelimit.New[netip.Prefix](cfg.RequestsPerMinute, time.Minute),
	}
	for _, r := range cfg.Roles {
		s.roles[r.Name] = role{Role: r, orders: ratelimit.New[string](cfg.ordersPerHour(r), time.Hour)}
	}
	provisioners, err := cfg.provisioners()
	if err != nil {
		return nil, err
	}
	s.auth, err = step.NewEmbedded(
		step.WithConfig(&config.Config{
			DNSNames: []string{"pki.internal"}, // an audience of tokens, of which there are none
			AuthorityConfig: &config.AuthConfig{
				Provisioners: provisioners,
				Backdate:     &provisioner.Duration{Duration: cfg.Backdate},
			},
		}),
		step.WithX509RootCerts(cfg.Roots...),
		step.WithX509SignerChain(append([]*x509.Certificate{cfg.Issuer}, cfg.Cross...), cfg.Key),
		step.WithX509IntermediateCerts(cfg.Issuer), // for the name constraints
		step.WithX509Enforcers(provisioner.CertificateEnforcerFunc(s.shape)),
		step.WithQuietInit(),
	)
	if err != nil {
		return nil, fmt.Errorf("ACME authority: %w", err)
	}
	if s.store, err = newStore(cfg.DB, s); err != nil {
		return nil, err
	}
	s.handler = s.mount()
	return s, nil
}

// provisioners makes one ACME provisioner per role.
func (c Config) provisioners() (list provisioner.List, err error) {
	ssh := false
	challenges := []provisioner.ACMEChallenge{provisioner.HTTP_01, provisioner.TLS_ALPN_01}
	if c.LookupTXT != nil {
		challenges = append(challenges, provisioner.DNS_01)
	}
	for i, r := range c.Roles {
		allowed := &policy.X509NameOptions{}
		options := &provisioner.X509Options{AllowedNames: allowed, AllowWildcardNames: c.LookupTXT != nil}
		for k, text := range r.Names {
			n, err := parseName(text)
			if err == nil {
				err = n.within(c.Issuer)
			}
			if err != nil {
				return nil, &configs.KeyError{
					Key: fmt.Sprintf("roles[%d].names[%d]", i, k), Problem: err.Error(), Cause: err,
					Hint: "authority.server_names, as it was at \"pki init\", decides that",
				}
			}
			if n.dns != "" {
				allowed.DNSDomains = append(allowed.DNSDomains, n.dns)
			} else {
				allowed.IPRanges = append(allowed.IPRanges, n.prefix.String())
			}
		}
		list = append(list, &provisioner.ACME{
			// The key of an account binding is looked up by this field itself, and by
			// what stands for it where it is empty elsewhere.
			ID:         "acme/" + r.Name,
			Type:       "ACME",
			Name:       r.Name,
			RequireEAB: !r.WithoutEAB,
			Challenges: challenges,
			Claims: &provisioner.Claims{
				MinTLSDur:     &provisioner.Duration{Duration: leastLifetime},
				MaxTLSDur:     &provisioner.Duration{Duration: c.Lifetime + c.Backdate + time.Minute},
				DefaultTLSDur: &provisioner.Duration{Duration: c.Lifetime},
				EnableSSHCA:   &ssh,
			},
			Options: &provisioner.Options{X509: options},
		})
	}
	return list, nil
}

// shape is the last to touch a certificate before it is signed.
func (s *Server) shape(c *x509.Certificate) error {
	now := time.Now()
	if left := s.cfg.Issuer.NotAfter.Sub(now); left < leastLife {
		return fmt.Errorf("the intermediate for servers has expired or is about to (%s)", s.cfg.Issuer.NotAfter)
	}
	profile.ApplyServer(c)
	oidSAN := []int{2, 5, 29, 17}
	c.ExtraExtensions = slices.DeleteFunc(c.ExtraExtensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSAN) })
	c.RawSubject = nil
	// A client may ask for other times.
	c.NotBefore = now.Add(-s.cfg.Backdate)
	for _, most := range []time.Time{now.Add(s.cfg.Lifetime), s.cfg.Issuer.NotAfter} {
		if c.NotAfter.After(most) {
			c.NotAfter = most
		}
	}
	return nil
}

// routes takes from smallstep's API what is wanted of it.
type routes struct{ chi.Router }

func (r routes) MethodFunc(method, path string, h http.HandlerFunc) {
	for _, left := range []acme.LinkType{acme.RevokeCertLinkType, acme.KeyChangeLinkType} {
		if strings.HasSuffix(path, "/"+left.String()) {
			return
		}
	}
	r.Router.MethodFunc(method, path, h)
}

func (s *Server) mount() http.Handler {
	r := chi.NewRouter()
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		err := acme.NewError(acme.ErrorMalformedType, "nothing is served here")
		err.Status = http.StatusNotFound
		err.Render(w, r)
	})
	r.Route(Prefix, func(r chi.Router) { acmeapi.Route(routes{r}) })
	client := newProver(s.cfg)
	linker := acme.NewLinker("pki.internal", Prefix) // links have the host of the request
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ctx := step.NewContext(req.Context(), s.auth)
		ctx = acme.NewContext(ctx, s.store, client, linker, nil)
		r.ServeHTTP(w, req.WithContext(ctx))
	})
}

// Lifetime is that of the certificates from now on.
func (s *Server) Lifetime() time.Duration { return s.cfg.Lifetime }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w}
	if network, ok := ratelimit.Network(r.RemoteAddr); !ok || !s.requests.Allow(network) {
		rec.Header().Set("Retry-After", "60")
		rateLimited("too many requests from this address").Render(rec, r)
	} else {
		r.Body = http.MaxBytesReader(rec, r.Body, maxBody)
		s.handler.ServeHTTP(rec, r)
	}
	s.refused(r, rec)
}

// errorPrefix comes before the types of RFC 8555 §6.7.
const errorPrefix = "urn:ietf:params:acme:error:"

// refused reports an answer that was a refusal.
func (s *Server) refused(r *http.Request, rec *recorder) {
	if rec.status < http.StatusBadRequest {
		return
	}
	var problem struct{ Type, Detail string }
	_ = json.Unmarshal(rec.body.Bytes(), &problem) // what is no problem document has no type
	role, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, Prefix+"/"), "/")
	if _, known := s.roles[role]; !known {
		role = ""
	}
	out := Refusal{Role: role, Path: path, Type: strings.TrimPrefix(problem.Type, errorPrefix), Detail: problem.Detail}
	s.cfg.Logger.Debug("refused", "role", role, "path", path, "status", rec.status, "type", out.Type, "detail", out.Detail)
	if out.Type == acme.ErrorBadNonceType.String() {
		return
	}
	s.cfg.Refused(r.Context(), out)
}

// recorder keeps the status, and the beginning of a refusal.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status >= http.StatusBadRequest && r.body.Len() < maxProof {
		r.body.Write(p)
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController, and for MaxBytesReader.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// EAB is an external account binding key (RFC 8555 §7.3.4) as ACME clients take it.
type EAB struct {
	// KeyID names the key.
	KeyID string `json:"key_id"`
	// HMACKey is the key, 32 bytes in base64url without padding. Secret.
	HMACKey string `json:"hmac_key"`
	// Path is where the role's directory is on the ACME listener.
	Path string `json:"-"`
}

// What [Server.EAB] fails with.
var (
	// ErrNoRole: no role has that name.
	ErrNoRole = errors.New("no such role")
	// ErrSerial: a role of PBXs needs a serial, and no other role takes one.
	ErrSerial = errors.New("a serial goes with a role of PBXs, and with no other")
)

// EAB makes a key with which one account of the role can be opened, once. It
// stays good until it is used. device is empty, but where the role is of PBXs: whose the
// account will be. A PBX has one key at most: another takes the place of the one before,
// whether that was used or not, and of its account nothing else depends on it.
func (s *Server) EAB(ctx context.Context, role string, device identity.Serial) (EAB, error) {
	r, ok := s.roles[role]
	if !ok {
		return EAB{}, fmt.Errorf("%w: %q", ErrNoRole, role)
	}
	if _, err := identity.ParseSerial(string(device)); r.Devices != (err == nil) || !r.Devices && device != "" {
		return EAB{}, fmt.Errorf("%w: role %q, serial %q", ErrSerial, role, device)
	}
	if r.Devices {
		if err := s.replaceKey(ctx, "acme/"+role, string(device)); err != nil {
			return EAB{}, fmt.Errorf("external account key before this one: %w", err)
		}
	}
	key, err := s.store.CreateExternalAccountKey(ctx, "acme/"+role, string(device))
	if err != nil {
		return EAB{}, fmt.Errorf("external account key: %w", err)
	}
	s.cfg.Logger.Info("external account key made", "role", role, "key", key.ID)
	return EAB{KeyID: key.ID, HMACKey: base64.RawURLEncoding.EncodeToString(key.HmacKey), Path: DirectoryPath(role)}, nil
}

// replaceKey removes the last key of a reference. smallstep makes no second one beside it.
func (s *Server) replaceKey(ctx context.Context, provisioner, reference string) error {
	key, err := s.store.GetExternalAccountKeyByReference(ctx, provisioner, reference)
	if acme.IsErrNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.store.DeleteExternalAccountKey(ctx, provisioner, key.ID)
}
