/** Words of the console's area "conversations", in English; other languages have this shape. */
export const conversations = {};
