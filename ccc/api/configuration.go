package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/comtrexx-cloud/comtrexx/ccc/access"
	"github.com/comtrexx-cloud/comtrexx/ccc/rollout"
	"github.com/comtrexx-cloud/comtrexx/ccc/store"
	"github.com/comtrexx-cloud/comtrexx/configs"
)

// Rollouts does what users ask for about the configuration of PBXs; a [*rollout.Service].
type Rollouts interface {
	Configuration(ctx context.Context, tenant store.TenantID, system store.SystemID) (rollout.Configuration, error)
	Change(ctx context.Context, who rollout.Actor, system store.SystemID, patch rollout.Patch) (rollout.Patched, error)
	Restart(ctx context.Context, who rollout.Actor, system store.SystemID) error
	Create(ctx context.Context, who rollout.Actor, wish rollout.Wish) (store.Rollout, error)
	Control(ctx context.Context, who rollout.Actor, id store.RolloutID, action rollout.Action) (store.Rollout, error)
	Changes(d store.RolloutDevice) (changes []rollout.Change, restart bool, err error)
	HasFirmware() error
	FirmwareLimit() configs.Bytes
	UploadTimeout() time.Duration
	Upload(ctx context.Context, by store.UserID, image io.Reader) (store.Firmware, error)
	RemoveFirmware(ctx context.Context, id store.FirmwareID) error
}

// Configuration is what is set at a PBX, as it says at this moment.
type Configuration struct {
	Version  string         `json:"version" doc:"Of the settings; the ETag, for If-Match"`
	Settings rollout.Values `json:"settings" doc:"By key: a text, a whole number, true or false, or a list of texts"`
	Model    string         `json:"model" doc:"Of the PBX" example:"COMtrexx Business"`
	Firmware string         `json:"firmware" doc:"Its version" example:"2.0.3"`
	Schema   []SettingKey   `json:"schema" nullable:"false" doc:"Which settings there are, in the order in which people see them"`
}

// SettingKey says what a setting may be.
type SettingKey struct {
	Key           string            `json:"key" example:"ntp_server"`
	Type          string            `json:"type" enum:"string,integer,boolean,list"`
	Min           *int64            `json:"min,omitempty" doc:"Of a number; of a text its bytes, of a list its entries"`
	Max           *int64            `json:"max,omitempty"`
	Enum          []string          `json:"enum,omitempty" nullable:"false" doc:"The only values of a text, or of a list's entries"`
	Pattern       string            `json:"pattern,omitempty" doc:"Regular expression for all of a text"`
	RestartNeeded bool              `json:"restart_needed" doc:"A change takes effect with the next restart"`
	Labels        map[string]string `json:"labels" nullable:"false" doc:"For people, by language; the PBX's own words"`
}

// ConfigurationPatch changes some settings.
type ConfigurationPatch struct {
	Settings rollout.Values `json:"settings" minProperties:"1" maxProperties:"200" doc:"By key, as in the schema"`
	Base     rollout.Values `json:"base,omitempty" maxProperties:"200" doc:"What the person has seen: where somebody else was faster the problem names the settings that differ from it"`
}

// SettingChange is what becomes of one setting.
type SettingChange struct {
	Key string          `json:"key"`
	Old json.RawMessage `json:"old,omitempty" doc:"Absent: the PBX has no such setting"`
	New json.RawMessage `json:"new"`
}

// ConfigurationChange is what was changed, or would be.
type ConfigurationChange struct {
	Version       string          `json:"version" doc:"Of the settings then"`
	Changes       []SettingChange `json:"changes" nullable:"false"`
	RestartNeeded bool            `json:"restart_needed" doc:"Some of it takes effect with the next restart"`
	DryRun        bool            `json:"dry_run" doc:"Nothing was changed"`
}

const tagConfiguration = "configuration"

// registerConfiguration is the table of the operations about the settings of one PBX.
func (a *API) registerConfiguration() {
	const path = "/systems/{id}/configuration"
	add(a, operation{
		id: "getConfiguration", method: http.MethodGet, path: path, tag: tagConfiguration, rule: atSystem(access.ConfigRead),
		summary: "Read the settings of a PBX", description: "From the PBX itself, through the tunnel.",
		codes: []Code{CodeState, CodeOffline, CodeConfigurationOff, CodePBX},
	}, a.getConfiguration)
	add(a, operation{
		id: "changeConfiguration", method: http.MethodPatch, path: path, tag: tagConfiguration, rule: atSystem(access.ConfigWrite),
		summary: "Change settings of a PBX", description: "What the body leaves out stays. Where somebody else has changed settings meanwhile, as the PBX's own administrator, nothing is changed.",
		codes: []Code{CodeState, CodeOffline, CodeConfigurationOff, CodePBX, CodeVersion, CodeVersionRequired},
	}, a.changeConfiguration)
	add(a, operation{
		id: "restartSystem", method: http.MethodPost, path: "/systems/{id}/restart", tag: tagConfiguration, rule: atSystem(access.ConfigWrite), status: http.StatusAccepted,
		summary: "Restart a PBX", description: "It is offline for a while. Nothing waits for its return.",
		codes: []Code{CodeState, CodeOffline, CodeConfigurationOff, CodePBX},
	}, a.restartSystem)
}

// rollout is how ccc/rollout knows the actor.
func (a actor) rollout() rollout.Actor {
	return rollout.Actor{Tenant: a.tenant.ID, User: a.user.ID, May: a.may}
}

// withETag is an answer with a version of its own.
type withETag[T any] struct {
	ETag string `header:"ETag"`
	Body T
}

func (a *API) getConfiguration(ctx context.Context, in *SystemPath) (*withETag[Configuration], error) {
	c, err := a.cfg.Rollouts.Configuration(ctx, mustActor(ctx).tenant.ID, store.SystemID(in.ID))
	if err != nil {
		return nil, err
	}
	out := Configuration{Version: c.Version, Settings: c.Values, Model: c.System.Model, Firmware: c.System.Firmware, Schema: make([]SettingKey, len(c.Schema))}
	for i, k := range c.Schema {
		out.Schema[i] = SettingKey(k)
	}
	return &withETag[Configuration]{ETag: strconv.Quote(c.Version), Body: out}, nil
}

type changeConfigurationInput struct {
	SystemPath
	Version string `header:"If-Match" maxLength:"64" doc:"ETag of the settings as the client knows them"`
	DryRun  bool   `query:"dry_run" doc:"Say what would change, and change nothing"`
	Body    ConfigurationPatch
}

func (a *API) changeConfiguration(ctx context.Context, in *changeConfigurationInput) (*withETag[ConfigurationChange], error) {
	if in.DryRun {
		looked(ctx)
	}
	who := mustActor(ctx)
	if _, err := a.find(ctx, who, in.ID); err != nil {
		return nil, err
	}
	version, err := matching(in.Version)
	if err != nil {
		return nil, err
	}
	done, err := a.cfg.Rollouts.Change(ctx, who.rollout(), store.SystemID(in.ID), rollout.Patch{
		Version: version, Values: in.Body.Settings, Base: in.Body.Base, DryRun: in.DryRun,
	})
	if err != nil {
		return nil, err
	}
	return &withETag[ConfigurationChange]{ETag: strconv.Quote(done.Version), Body: ConfigurationChange{
		Version: done.Version, Changes: settingChanges(done.Changes), RestartNeeded: done.Restart, DryRun: in.DryRun,
	}}, nil
}

func settingChanges(all []rollout.Change) []SettingChange {
	out := make([]SettingChange, len(all))
	for i, c := range all {
		out[i] = SettingChange(c)
	}
	return out
}

// matching gives the text of an If-Match whose versions are another's; "" for *.
func matching(text string) (string, error) {
	switch text {
	case "":
		return "", problem(CodeVersionRequired, "")
	case "*":
		return "", nil
	}
	inner, ok := strings.CutPrefix(text, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	if !ok || !closed || inner == "" {
		return "", problem(CodeVersion, "")
	}
	return inner, nil
}

// Restarting says that a PBX restarts.
type Restarting struct {
	SystemID string `json:"system_id"`
}

func (a *API) restartSystem(ctx context.Context, in *SystemPath) (*body[Restarting], error) {
	if err := a.cfg.Rollouts.Restart(ctx, mustActor(ctx).rollout(), store.SystemID(in.ID)); err != nil {
		return nil, err
	}
	return &body[Restarting]{Body: Restarting{in.ID}}, nil
}

// rolloutProblem makes a problem of what the service refuses; its codes are ours.
func rolloutProblem(e *rollout.Error) *Problem {
	fields := make([]FieldError, len(e.Fields))
	for i, f := range e.Fields {
		fields[i] = FieldError{"body." + strings.Replace(f.Field, "values", "settings", 1), FieldInvalid, f.Message}
	}
	return problem(Code(e.Code), e.Detail, fields...)
}
