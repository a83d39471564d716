/** Words of the console's area "home", in English; other languages have this shape. */
export const home = {};
