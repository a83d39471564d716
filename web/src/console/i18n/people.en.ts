/** Words of the console's area "people", in English; other languages have this shape. */
export const people = {};
