/** Words of the console's area "usage", in English; other languages have this shape. */
export const usage = {};
