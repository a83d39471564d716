/** Words of the console's area "backups", in English; other languages have this shape. */
export const backups = {};
