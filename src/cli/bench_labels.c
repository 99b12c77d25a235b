/* Labels read, each after its own prompt or all after one that they share, and a mood with the first token of the reply: what the page does
 * with each message. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/bench.h"
#include "cli/open.h"

#define SHORT_TOKENS 20
#define LONG_TOKENS  200

static const char *const five_tasks[] = {"sentiment", "emotion", "intent", "urgency", "crisis"};
#define N_FIVE (sizeof five_tasks / sizeof *five_tasks)

typedef struct reading {
    task_choice choice;
    task_layout layout;
    size_t n_tokens; /* of the text, about */
} reading;

/* A text of at least n_tokens tokens that has not been seen before. */
static qaio_status fresh_text(bench *b, str *out, size_t n_tokens) {
    static const char *const phrases[] = {"今天的菜比上次好吃", "服务员说话很不耐烦", "等了快一个小时才送到", "朋友推荐我来这里",
                                          "房间打扫得干干净净", "电话一直打不通",     "孩子高兴得跳了起来",   "我不知道该怎么办",
                                          "下雨了还要去上班",   "老师表扬了我的作文", "包裹摔坏了没人管",     "周末想去海边走走",
                                          "这本书让我想了很久", "他终于答应见我一面", "价格贵得有点离谱",     "谢谢你昨天帮我"};
    qaio_status status = QAIO_OK;
    token_list ids = {0};
    str_clear(out);
    str_printf(out, "%u号，", (unsigned)(bench_random(b) % 100000));
    do {
        str_printf(out, "%s,", phrases[bench_random(b) % (sizeof phrases / sizeof *phrases)]);
        if (out->failed) return error_memory(&b->error);
        ids.n = 0;
        status = tokenizer_encode(resident_tokenizer(b->resident), out->data, out->len, NULL, 0, &ids, &b->error);
    } while (!status && ids.n < n_tokens);
    token_list_deinit(&ids);
    return status;
}

/* The rows that the engine computed since `before`, as work done in one pass. */
static bench_work work_since(const bench *b, const engine_stats *before, double n_logits) {
    engine_stats now;
    engine_get_stats(resident_engine(b->resident), &now);
    double prompt = (double)(now.n_prompt_tokens - before->n_prompt_tokens);
    double rows = prompt - (double)(now.n_cached_tokens - before->n_cached_tokens), jobs = (double)(now.n_jobs - before->n_jobs);
    bench_pass pass = {
        .n_steps = 1, .n_rows = rows, .n_attended = jobs > 0 ? rows * prompt / jobs : 0, .n_kv = prompt, .n_logits = n_logits};
    return bench_work_of(b->resident, &pass);
}

/* Waits for all; the first failure counts. */
static qaio_status finish_reads(bench *b, label_read **reads, size_t n) {
    qaio_status status = QAIO_OK;
    for (size_t i = 0; i < n; i++) {
        label_answer answer;
        qaio_error err;
        qaio_status ended = label_finish(reads[i], &answer, &err);
        if (!ended || status) continue;
        b->error = err;
        status = ended;
    }
    return status;
}

static qaio_status read_once(bench *b, void *ctx, double *ms, bench_work *work) {
    const reading *r = ctx;
    const label_request request = {.tasks = r->choice.tasks, .n_tasks = r->choice.n, .has_layout = true, .layout = r->layout};
    label_read *reads[N_FIVE];
    str text = {0};
    engine_stats before;
    qaio_status status = fresh_text(b, &text, r->n_tokens);
    if (!status) {
        engine_get_stats(resident_engine(b->resident), &before);
        double started_ms = clock_ms();
        status = labels_start(reads, b->resident, &request, text.data, text.len, &b->error);
        if (!status) status = finish_reads(b, reads, r->choice.n);
        *ms = clock_ms() - started_ms;
        *work = work_since(b, &before, 0);
    }
    str_deinit(&text);
    return status;
}

static void read_tasks(bench *b, reading *r) {
    bench_figure figure = {0};
    size_t n = r->choice.n;
    bool is_shared = r->layout == LAYOUT_SHARED;
    snprintf(figure.what, sizeof figure.what, "labels %zu%s text %zu", n, is_shared ? " shared" : "", r->n_tokens);
    snprintf(figure.en, sizeof figure.en, "%zu label%s of %zu tokens%s", n, n == 1 ? "" : "s", r->n_tokens,
             is_shared ? ", shared prompt" : "");
    snprintf(figure.zh, sizeof figure.zh, "%zu 个标签，文本 %zu 词元%s", n, r->n_tokens, is_shared ? "，共用提示" : "");
    bench_measure(b, &figure, read_once, r);
}

static qaio_status wait_first_token(reply *p) {
    reply_piece piece;
    reply_result result;
    qaio_error ignored;
    while (reply_next(p, &piece, -1) == REPLY_PIECE && !piece.is_token) {
    }
    reply_cancel(p);
    return reply_finish(p, &result, &ignored);
}

static qaio_status mood_and_reply_once(bench *b, void *ctx, double *ms, bench_work *work) {
    const reading *r = ctx;
    str text = {0};
    label_read *read = NULL;
    reply *p = NULL;
    label_answer answer;
    engine_stats before;
    qaio_status status = fresh_text(b, &text, r->n_tokens);
    if (status) goto done;
    engine_get_stats(resident_engine(b->resident), &before);
    chat_message message = {.role = "user", .content = text.data, .content_bytes = text.len};
    double started_ms = clock_ms();
    resident_hold(b->resident);
    status = label_start(&read, b->resident, r->choice.tasks[0], text.data, text.len, &b->error);
    if (!status) status = reply_start(&p, b->resident, &message, 1, &reply_defaults, &b->error);
    resident_release(b->resident);
    if (read) {
        qaio_status ended = label_finish(read, &answer, &b->error);
        if (!status) status = ended;
    }
    if (p) {
        wait_first_token(p);
        *ms = clock_ms() - started_ms;
    }
    *work = work_since(b, &before, 1);
done:
    str_deinit(&text);
    return status;
}

void bench_labels(bench *b) {
    static const size_t sizes[] = {SHORT_TOKENS, LONG_TOKENS};
    reading one = {.layout = LAYOUT_OWN}, five = {.layout = LAYOUT_OWN};
    qaio_error missing;
    for (size_t i = 0; i < N_FIVE; i++) {
        const task *t;
        if (task_set_find(&t, resident_tasks(b->resident), five_tasks[i], &missing) || t->kind != TASK_LABEL)
            return; /* --tasks may do so */
        if (i == 0) one.choice.tasks[one.choice.n++] = t;
        five.choice.tasks[five.choice.n++] = t;
    }
    one.choice.n_labels = one.choice.n;
    five.choice.n_labels = five.choice.n;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        one.n_tokens = five.n_tokens = sizes[i];
        read_tasks(b, &one);
        read_tasks(b, &five);
        five.layout = LAYOUT_SHARED;
        read_tasks(b, &five);
        five.layout = LAYOUT_OWN;
    }
    bench_figure figure = {"mood and first token", "a mood and the reply's first token", "情绪与回复的首个词元", 0, false};
    one.n_tokens = SHORT_TOKENS;
    bench_measure(b, &figure, mood_and_reply_once, &one);
}
