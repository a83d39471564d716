/** Words of the console's area "knowledge", in English; other languages have this shape. */
export const knowledge = {};
