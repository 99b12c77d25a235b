/* What /v1/decisions and /v1/systemone share: questions about one input, read side by side, answered in order. */
#ifndef QAIO_SERVER_QUESTIONS_H
#define QAIO_SERVER_QUESTIONS_H

#include "server/exchange.h"
#include "server/fields.h"
#include "tasks/decision.h"

#define MAX_QUESTIONS 400
#define MIN_OPTIONS   2
#define MAX_LEVELS    10

typedef enum question_kind { QUESTION_YES_NO, QUESTION_CHOICE, QUESTION_SCORE } question_kind;

typedef struct question {
    question_kind kind;
    str instructions;         /* owned */
    decision_option *options; /* owned; their texts borrow from the JSON.  Of QUESTION_YES_NO: yes, no */
    size_t n_options;
    const json_t *source; /* the question as it came, borrowed */
    const char *id;       /* System One: its key, borrowed */
} question;

/* A whole request. */
typedef struct decision_request {
    str input; /* owned */
    question *questions;
    size_t n_questions;
    bool has_mass; /* diagnostics */
} decision_request;

/* deinit also after a failure.  What they read is in the JSON, which has to outlive the request. */
bool decisions_request_parse(decision_request *out, const json_t *root, const char *model_name, failure *f);
bool systemone_request_parse(decision_request *out, const json_t *root, const char *model_name, failure *f);
void decision_request_deinit(decision_request *r);

/* ---- for the parsers; param names the field in refusals ---- */

/* Room for n questions and for a question's options. */
bool questions_alloc(decision_request *out, size_t n, const char *param, failure *f);
bool options_alloc(question *q, size_t n, size_t max, const char *param, failure *f);
/* The next option; value is a string or, where it may be, a boolean.  description may be NULL or null. */
bool option_add(question *q, const json_t *value, const json_t *description, const char *param, failure *f);
/* The two options of a yes-no question, described or not (NULL). */
bool options_of_yes_no(question *q, const json_t *yes, const json_t *no, const char *param, failure *f);
/* Not blank; the instructions are used as a C string and have no NUL. */
bool instructions_check(const question *q, const char *param, failure *f);
bool input_check(const decision_request *r, const char *param, failure *f);

/* ---- the course ---- */

/* Reads all questions and gives each answer to `say` (false: out of memory), in order; what the answers have in common goes to *usage, a
 * new reference.  False after filling f; input_param names the input. */
typedef bool (*answer_sayer)(json_t *answers, const decision_request *r, const question *q, const decision_answer *a);
bool questions_answer(exchange *x, const decision_request *r, const char *input_param, answer_sayer say, json_t *answers, json_t **usage,
                      failure *f);

/* A handler whole: parse, ask, answer {"model","answers","usage"}.  answers: an empty list or object, moved. */
void questions_handle(exchange *x, bool (*parse)(decision_request *out, const json_t *root, const char *model_name, failure *f),
                      const char *input_param, answer_sayer say, json_t *answers);

#endif
