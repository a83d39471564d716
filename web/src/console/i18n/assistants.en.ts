/** Words of the console's area "assistants", in English; other languages have this shape. */
export const assistants = {};
