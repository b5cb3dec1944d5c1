// Serves the built pages with a made-up fleet, to look at them by hand: node e2e/serve.mjs
import { password, startMock } from './mock.mjs';

const mock = await startMock({ systems: Number(process.env.SYSTEMS ?? 10_000) });
mock.knobs.churn = 20;
console.log(`${mock.origin}  anna@example.org (de), emma@ (en), luc@ (fr), vera@ (viewer); password: ${password}`);
console.log(`http://fontevo.localhost:${mock.port} shows the other brand`);
