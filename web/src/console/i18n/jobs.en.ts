/** Words of the console's area "jobs", in English; other languages have this shape. */
export const jobs = {};
