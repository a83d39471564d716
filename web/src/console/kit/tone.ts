/** What a colour says; the word beside it says the same. */
export type Tone = "good" | "warn" | "danger" | "plain" | "accent" | "busy";
