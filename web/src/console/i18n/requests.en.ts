/** Words of the console's area "requests", in English; other languages have this shape. */
export const requests = {};
