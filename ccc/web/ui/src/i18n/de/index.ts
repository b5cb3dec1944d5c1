import audit from './audit.json';
import automation from './automation.json';
import base from './base.json';
import firmware from './firmware.json';
import history from './history.json';
import onboarding from './onboarding.json';
import organisation from './organisation.json';
import rollout from './rollout.json';
import signin from './signin.json';

export default { ...base, audit, automation, firmware, history, onboarding, organisation, rollout, signin };
