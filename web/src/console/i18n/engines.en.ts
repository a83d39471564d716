/** Words of the console's area "engines", in English; other languages have this shape. */
export const engines = {};
