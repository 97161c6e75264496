// Ears for a page that is not ours: what it plays can be recorded.

import { Ear } from './ear.js';

globalThis.listener = new Ear();
