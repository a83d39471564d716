/** Words of the console's area "tenant", in English; other languages have this shape. */
import type { DeletionState, ExportState } from "../api/lifecycle";

const plural = (count: string, one: string, many: string) => `${count} ${count === "1" ? one : many}`;

export const tenant = {
  lead: "What your tenant is called, the calendar of its limits, an archive of all it holds, and its end.",
  settings: "Settings",
  settingsLead: "In effect everywhere within two seconds.",
  name: "Name",
  timezone: "Time zone",
  timezoneHelp: "Days and months of limits begin by this clock.",
  anyRegion: "Any engine of the platform may work on your content.",
  onlyRegion: (region: string) => `Only engines in the region ${region} see your content. The operators set this.`,
  saved: "The tenant is saved.",
  exports: {
    title: "Archive",
    lead: "Everything the tenant holds in one file: a table a file of JSON lines, what was handed in, and a manifest with checksums. Keys, passwords and other secrets are never in it. It can be downloaded for three days.",
    operatorLead: "Everything the tenant holds in one file. It holds what people wrote, so open operators' access there first. The tenant sees in its audit that you took it out, and why.",
    make: "Make an archive",
    reason: "Why you take it out",
    asked: "The archive is being made.",
    none: "No archive was made yet.",
    states: { queued: "Waiting", running: "Being made", ready: "Ready", failed: "Failed", gone: "Removed" } as Record<ExportState, string>,
    by: (who: string) => `asked for by ${who}`,
    rows: (done: string, total: string) => `${done} of ${total} rows`,
    content: (size: string, rows: string, files: string) => `${size} · ${rows} rows · ${plural(files, "file", "files")}`,
    until: (when: string) => `can be downloaded until ${when}`,
    download: "Download",
    remove: "Remove",
    removed: "The archive is removed.",
  },
  deletion: {
    title: "Delete the tenant",
    lead: "Nobody gets in from now on. After seven days everything is deleted for good: people, keys, conversations, documents, usage, the audit. Until then owners, and the operators of the platform, can undo it.",
    operatorLead: "Nobody gets in from now on. When the time below is over everything is deleted for good, and a proof is kept: what was counted, and that no trace was found.",
    action: "Delete this tenant",
    confirmTitle: (name: string) => `Delete ${name}?`,
    confirmText: "Make an archive first if you want to keep anything. You are signed out of this tenant at once.",
    operatorConfirm: "Its people are shut out within two seconds. It can be undone until the time of grace is over, and never after.",
    grace: "Can be undone for",
    graces: { "168": "7 days", "24": "1 day", "720": "30 days", "0": "Not at all: it begins at once" },
    asked: "The tenant will be deleted.",
    notice: (when: string) => `This tenant will be deleted ${when}. Sessions and keys are refused.`,
    running: (step: string, count: string) => `This tenant is being deleted (${step}): ${count} rows so far.`,
    withdraw: "Undo",
    withdrawn: "The tenant is again as it was.",
    listTitle: "Deleted tenants",
    listLead: "What was, or is to be, deleted, and what proves that nothing is left.",
    states: { waiting: "Waiting", erasing: "Being deleted", done: "Deleted", incomplete: "Traces left", withdrawn: "Undone" } as Record<
      DeletionState,
      string
    >,
    due: (when: string) => `due ${when}`,
    by: (who: string) => `asked for by ${who}`,
    proof: (rows: string, places: string, ids: string) =>
      `${rows} rows deleted; ${places} tables and stores counted empty; ${plural(ids, "id", "ids")} of it looked for in every table and not found.`,
    left: "Left over",
    traces: "Traces found",
  },
};
