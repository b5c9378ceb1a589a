/** The set-up runs before there is a compiler, so it is plain JavaScript; its tests take it as such. */
declare module '*.mjs';
