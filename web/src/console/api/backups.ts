/** Calls and wire shapes of the console's area "backups". */
export {};
