/** Words of the console's area "upkeep", in English; other languages have this shape. */
export const upkeep = {};
