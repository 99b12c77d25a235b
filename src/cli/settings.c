#include "cli/settings.h"

#include <stddef.h>

const settings settings_defaults = {
    .type = DTYPE_NONE,
    .kv_type = DTYPE_NONE,
    .temperature = -1,
    .top_p = -1,
    .repetition_penalty = -1,
    .host = "127.0.0.1",
    .port = 7860,
};

#define AT(field)    .offset = offsetof(settings, field)
#define GIVEN(field) .given = offsetof(settings, field)
#define GROUP(en, zh, r)                                                                                                                   \
    { en, zh, r, sizeof r / sizeof *r }

#define MAX_SEED 18446744073709549568.0 /* the largest double below 2^64 */

static const option_row general_rows[] = {
    {"help", 'h', OPTION_FLAG, AT(help), .help_en = "show this help", .help_zh = "显示这段帮助"},
};
const option_group group_general = GROUP("General", "通用", general_rows);

static const option_row json_rows[] = {
    {"json", 'j', OPTION_FLAG, AT(json), .help_en = "print JSON instead of text for people", .help_zh = "输出 JSON"},
};
const option_group group_json = GROUP("Output", "输出", json_rows);

static const option_row labels_rows[] = {
    {"layout", 0, OPTION_TEXT, AT(layout), "NAME",
     .help_en = "read label tasks as own, shared or probe instead of as they say (see `qaio bench tasks`)",
     .help_zh = "以 own、shared 或 probe 布局读取分类任务（见 `qaio bench tasks`）"},
};
const option_group group_labels = GROUP("Labels", "分类", labels_rows);

static const option_row model_rows[] = {
    {"model", 'm', OPTION_TEXT, AT(model), "NAME|PATH",
     .help_en = "a file, a directory, or a name from `qaio models` (default: the built-in model)",
     .help_zh = "文件、目录，或 `qaio models` 里的名称（默认：内置模型）"},
    {"type", 0, OPTION_TYPE, AT(type), "TYPE", .help_en = "weights in memory: q8_0 (default), q4_0, f16, bf16, f32",
     .help_zh = "内存中的权重类型：q8_0（默认）、q4_0、f16、bf16、f32"},
    {"kv-type", 0, OPTION_TYPE, AT(kv_type), "TYPE", .help_en = "KV cache: f16 or f32", .help_zh = "KV 缓存：f16 或 f32"},
    {"ctx", 'c', OPTION_COUNT, AT(n_ctx), "N", 16, 1 << 24, .help_en = "context in tokens (default: the model's, at most 4096)",
     .help_zh = "上下文长度（默认：模型自身的，最多 4096）"},
    {"threads", 't', OPTION_COUNT, AT(n_threads), "N", 1, POOL_MAX_THREADS, .help_en = "CPU threads (default: all this process may use)",
     .help_zh = "CPU 线程数（默认：本进程可用的全部）"},
    {"tasks", 0, OPTION_TEXT, AT(tasks_dir), "DIR", .help_en = "more tasks: every *.yaml of a directory",
     .help_zh = "更多任务：目录下的所有 *.yaml"},
};
const option_group group_model = GROUP("Model", "模型", model_rows);

static const option_row sampling_rows[] = {
    {"temperature", 0, OPTION_REAL, AT(temperature), "X", 0, 100,
     .help_en = "0: always the most probable token (default: the model's, else 0.7)",
     .help_zh = "0：总取最可能的词元（默认：模型自带，否则 0.7）"},
    {"top-p", 0, OPTION_REAL, AT(top_p), "X", 0, 1,
     .help_en = "keep the most probable tokens up to this sum (default: the model's, else 0.8)",
     .help_zh = "只保留累计概率在此之内的词元（默认：模型自带，否则 0.8）"},
    {"top-k", 0, OPTION_COUNT, AT(top_k), "N", 0, 1 << 24, GIVEN(has_top_k), .help_en = "keep the N most probable tokens; 0: all",
     .help_zh = "只保留最可能的 N 个词元；0：全部"},
    {"repetition-penalty", 0, OPTION_REAL, AT(repetition_penalty), "X", 0.01, 100, .help_en = "above 1: repeat less",
     .help_zh = "大于 1：减少重复"},
    {"seed", 0, OPTION_COUNT, AT(seed), "N", 0, MAX_SEED, GIVEN(has_seed), .help_en = "the same seed gives the same reply",
     .help_zh = "种子相同，回复相同"},
    {"max-tokens", 'n', OPTION_COUNT, AT(max_tokens), "N", 1, 1 << 24, .help_en = "length of a reply in tokens (default: 128)",
     .help_zh = "回复的最大长度（默认 128）"},
    {"stop", 0, OPTION_TEXTS, AT(stops), "TEXT", .help_en = "end the reply before this text; may be repeated",
     .help_zh = "遇到这段文字就停止；可多次给出"},
};
const option_group group_sampling = GROUP("Replies", "回复", sampling_rows);

static const option_row serve_rows[] = {
    {"host", 0, OPTION_TEXT, AT(host), "ADDRESS", .help_en = "listen here (default: 127.0.0.1, this machine only)",
     .help_zh = "监听地址（默认 127.0.0.1，仅本机）"},
    {"port", 'p', OPTION_COUNT, AT(port), "N", 0, 65535, .help_en = "default: 7860; 0: any free port",
     .help_zh = "默认 7860；0：任一空闲端口"},
    {"api-key-file", 0, OPTION_TEXT, AT(api_key_file), "FILE", .help_en = "clients must send the key in this file",
     .help_zh = "客户端须带上文件中的密钥"},
    {"allow-host", 0, OPTION_TEXTS, AT(allowed_hosts), "NAME",
     .help_en = "a further name in the Host header, behind a proxy; may be repeated", .help_zh = "代理之后的其他主机名；可多次给出"},
    {"allow-origin", 0, OPTION_TEXTS, AT(allowed_origins), "URL", .help_en = "web pages from there may call (CORS); may be repeated",
     .help_zh = "允许该来源的网页调用（CORS）；可多次给出"},
    {"timeout", 0, OPTION_REAL, AT(timeout), "SECONDS", 0, 86400, .help_en = "end what is not done after so long (default: never)",
     .help_zh = "超过该时长仍未完成的请求即结束（默认不限）"},
    {"insecure", 0, OPTION_FLAG, AT(insecure), .help_en = "allow a public address without a key", .help_zh = "允许公网地址不设密钥"},
};
const option_group group_serve = GROUP("Server", "服务", serve_rows);

static const option_row chat_rows[] = {
    {"system", 's', OPTION_TEXT, AT(system), "TEXT", .help_en = "the system prompt (default: the chat task's)",
     .help_zh = "系统提示词（默认：chat 任务的）"},
    {"no-mood", 0, OPTION_FLAG, AT(no_mood), .help_en = "do not show the mood of each message", .help_zh = "不显示每句话的情绪"},
};
const option_group group_chat = GROUP("Chat", "对话", chat_rows);

static const option_row text_rows[] = {
    {"column", 0, OPTION_TEXT, AT(column), "NAME",
     .help_en = "the column or key with the text (default: text, content, review … or the only one)",
     .help_zh = "文本所在的列或键（默认：text、content、review、文本……或唯一的一列）"},
    {"format", 0, OPTION_TEXT, AT(format), "FORMAT",
     .help_en = "of the file that is read: csv, jsonl or txt (default: by its suffix; labelled texts are csv or jsonl)",
     .help_zh = "所读文件的格式：csv、jsonl 或 txt（默认看后缀；带标签的文本须为 csv 或 jsonl）"},
};
const option_group group_texts = GROUP("Texts", "文本", text_rows);

static const option_row batch_rows[] = {
    {"output-format", 0, OPTION_TEXT, AT(output_format), "FORMAT",
     .help_en = "of OUT: csv, jsonl or txt (default: by its suffix, else as IN)",
     .help_zh = "输出格式：csv、jsonl 或 txt（默认看后缀，否则同输入）"},
    {"force", 'f', OPTION_FLAG, AT(force), .help_en = "overwrite OUT", .help_zh = "覆盖已有的输出文件"},
    {"resume", 0, OPTION_FLAG, AT(resume), .help_en = "go on where an earlier run stopped: OUT is kept",
     .help_zh = "从上次停下的地方继续：保留已有输出"},
    {"batch-calibration", 0, OPTION_FLAG, AT(batch_calibration),
     .help_en = "take off what each label gets on average over the rows so far (labels that occur about equally often)",
     .help_zh = "减去各标签在已读各行上的平均倾向（适合各标签出现次数相近的数据）"},
};
const option_group group_batch = GROUP("Files", "文件", batch_rows);

#define QUIET_ROW                                                                                                                          \
    { "quiet", 'q', OPTION_FLAG, AT(quiet), .help_en = "no progress", .help_zh = "不显示进度" }

static const option_row progress_rows[] = {
    {"progress", 0, OPTION_FLAG, AT(progress), .help_en = "progress lines also where stderr is no terminal",
     .help_zh = "标准错误不是终端时也显示进度"},
    QUIET_ROW,
};
const option_group group_progress = GROUP("Progress", "进度", progress_rows);

static const option_row calibrate_rows[] = {
    {"label-column", 0, OPTION_TEXT, AT(label_column), "NAME",
     .help_en = "calibrate: the column with the right label, its id or text (default: label)",
     .help_zh = "calibrate：正确标签所在的列，写 id 或文字（默认 label）"},
    {"dry-run", 0, OPTION_FLAG, AT(dry_run), .help_en = "calibrate: report, store nothing", .help_zh = "calibrate：只报告，不存储"},
    {"remove", 0, OPTION_FLAG, AT(remove), .help_en = "calibrate: delete the task's calibration for this model",
     .help_zh = "calibrate：删除该任务对此模型的校准"},
};
const option_group group_calibrate = GROUP("Calibration", "校准", calibrate_rows);

static const option_row pull_rows[] = {
    {"source", 0, OPTION_TEXT, AT(source), "HUB", .help_en = "huggingface (default) or modelscope",
     .help_zh = "huggingface（默认）或 modelscope"},
    {"endpoint", 0, OPTION_TEXT, AT(endpoint), "URL",
     .help_en = "a mirror (default: HF_ENDPOINT or MODELSCOPE_ENDPOINT, else the public hub)",
     .help_zh = "镜像地址（默认 HF_ENDPOINT 或 MODELSCOPE_ENDPOINT，否则公共站点）"},
    {"revision", 0, OPTION_TEXT, AT(revision), "NAME", .help_en = "branch, tag or commit", .help_zh = "分支、标签或提交"},
    QUIET_ROW,
};
const option_group group_pull = GROUP("Download", "下载", pull_rows);

static const option_row quantize_rows[] = {
    {"type", 0, OPTION_TYPE, AT(type), "TYPE", .help_en = "q8_0, q4_0, f16, bf16 or f32", .help_zh = "q8_0、q4_0、f16、bf16 或 f32"},
    QUIET_ROW,
};
const option_group group_quantize = GROUP("Quantize", "量化", quantize_rows);

static const option_row inspect_rows[] = {
    {"tokenizer", 0, OPTION_TEXT, AT(tokenizer), "DIR", .help_en = "tokenize, detokenize, template: a tokenizer is enough",
     .help_zh = "tokenize、detokenize、template 只需分词器"},
    {"template", 0, OPTION_TEXT, AT(template), "FILE", .help_en = "template: the chat template to use",
     .help_zh = "template：所用的对话模板"},
    {"plain", 0, OPTION_FLAG, AT(plain), .help_en = "special tokens in texts are ordinary text", .help_zh = "文本中的特殊词元当作普通文字"},
};
const option_group group_inspect = GROUP("Inspect", "检视", inspect_rows);

static const option_row bench_rows[] = {
    {"repeat", 'r', OPTION_COUNT, AT(repeat), "N", 1, 1000,
     .help_en = "runs of each figure, the median counts (default: as many as fit into 1.5 s, at least 2)",
     .help_zh = "每项测量的次数，取中位数（默认：1.5 秒内能测几次就几次，至少 2 次）"},
    {"only", 0, OPTION_TEXT, AT(only), "LIST", .help_en = "of limits, prefill, decode, streams, labels, start only these",
     .help_zh = "只测其中几项：limits、prefill、decode、streams、labels、start"},
    {"full", 0, OPTION_FLAG, AT(full), .help_en = "decode at depth 4096 as well, where the context allows it",
     .help_zh = "另测深度 4096 的生成（上下文够长时）"},
};
const option_group group_bench = GROUP("Bench", "测速", bench_rows);

bool type_is_writable(dtype type) {
    static const dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i] == type) return true;
    return false;
}

reply_params settings_reply_params(const settings *s) {
    reply_params p = reply_defaults;
    p.temperature = (float)s->temperature;
    p.top_p = (float)s->top_p;
    p.repetition_penalty = (float)s->repetition_penalty;
    if (s->has_top_k) p.top_k = (int32_t)s->top_k;
    p.has_seed = s->has_seed;
    p.seed = s->seed;
    p.max_new = (uint32_t)s->max_tokens;
    p.stops = s->stops.items;
    p.n_stops = s->stops.n;
    return p;
}
