/** How the states of requests look. */

import type { RequestState } from "../api/requests";
import type { Tone } from "../kit/tone";

export const TONES: Record<RequestState, Tone> = {
  slow: "warn",
  failed: "danger",
  refused: "plain",
  sampled: "good",
  completed: "good",
  cancelled: "plain",
};
