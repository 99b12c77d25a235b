/* JSON (RFC 8259) as expressions.  White space is what a person would write and no more, so that no model can lose itself in it: a space or
 * a line break with an indentation between members and items, a space after a colon, none around the whole. */
#ifndef QAIO_MASK_JSON_H
#define QAIO_MASK_JSON_H

#include "mask/characters.h"

#define JSON_MAX_DIGITS 18 /* before the point, and after it: every integer fits 64 bits */

/* Made once for a grammar. */
typedef struct json_parts {
    expr character; /* of a string, as itself or escaped */
    expr string;
    expr integer, number;
    expr gap;   /* between members or items, and behind the brackets */
    expr space; /* behind a colon */
    expr value; /* anything, nested up to GRAMMAR_MAX_DEPTH */
    expr object;
} json_parts;

void json_parts_make(json_parts *out, grammar *g);

/* One character of the ranges inside a string; what JSON escapes is escaped, as \" \\ \n or \u001f. */
expr json_characters(grammar *g, const code_range *ranges, size_t n);
/* A string with this inside its quotes. */
expr json_quoted(grammar *g, expr inside);
/* key: a whole JSON string, with its quotes. */
expr json_pair(grammar *g, const json_parts *json, expr key, expr value);
/* [item, item ...] and {member, member ...}, least to most of them. */
expr json_list(grammar *g, const json_parts *json, const char *brackets, expr item, uint32_t least, uint32_t most);

#endif
