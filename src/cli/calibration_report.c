#include "cli/calibration_report.h"

#include <stdio.h>
#include <string.h>

#include "cli/json_out.h"
#include "cli/locale.h"
#include "cli/report.h"
#include "cli/terminal.h"

#define NAME_COLUMNS     24
#define MAX_SHOWN_LABELS 16 /* of the confusion matrix on a terminal */

static void print_json(const calibration_report *r) {
    const task *t = r->key->task;
    json_t *labels = json_array(), *biases = json_object();
    for (size_t i = 0; i < t->n_labels; i++) {
        json_array_append_new(labels, json_string(t->labels[i].id));
        json_object_set_new(biases, t->labels[i].id, json_real(r->learnt.values.biases[i]));
    }
    json_print(json_pack("{s:s, s:I, s:s, s:s, s:I, s:I, s:o, s:f, s:o, s:o, s:o, s:o}", "task", t->name, "task_version",
                         (json_int_t)t->version, "model", r->key->model_name, "weights", r->key->weights, "rows",
                         (json_int_t)r->learnt.n_rows, "skipped", (json_int_t)r->n_skipped, "labels", labels, "temperature",
                         r->learnt.values.temperature, "biases", biases, "before", quality_to_json(&r->before), "after",
                         quality_to_json(&r->after), "stored", r->path ? json_text(r->path, strlen(r->path)) : json_null()));
}

static void print_figures(const quality *before, const quality *after) {
    print_name("", NAME_COLUMNS);
    puts(TR("      before       after", "      校准前      校准后"));
    print_name(TR("accuracy", "准确率"), NAME_COLUMNS);
    printf("%10.2f %%%10.2f %%\n", 100 * before->accuracy, 100 * after->accuracy);
    print_name(TR("macro-F1", "宏平均 F1"), NAME_COLUMNS);
    printf("%12.4f%12.4f\n", before->macro_f1, after->macro_f1);
    print_name(TR("ECE", "ECE（校准误差）"), NAME_COLUMNS);
    printf("%12.4f%12.4f\n", before->ece, after->ece);
    print_name(TR("Brier", "Brier 分数"), NAME_COLUMNS);
    printf("%12.4f%12.4f\n", before->brier, after->brier);
    print_name(TR("log loss", "对数损失"), NAME_COLUMNS);
    printf("%12.4f%12.4f\n", before->log_loss, after->log_loss);
    for (size_t i = 0; i < QUALITY_RISKS; i++) {
        char name[64];
        snprintf(name, sizeof name, TR("kept at %g %% error", "容许 %g %% 错误时作答"), 100 * quality_risks[i]);
        print_name(name, NAME_COLUMNS);
        printf("%10.1f %%%10.1f %%", 100 * before->coverages[i].share, 100 * after->coverages[i].share);
        if (after->coverages[i].share > 0) printf("  (abstain_below: %.4f)", after->coverages[i].threshold);
        putchar('\n');
    }
}

static void print_confusion(const task *t, const quality *q) {
    if (q->n_labels > MAX_SHOWN_LABELS) return;
    puts(TR("Confusion after (a row: what is right; a column: what was answered):", "校准后的混淆矩阵（行：正确标签；列：回答）："));
    printf("  %-16s", "");
    for (size_t i = 0; i < q->n_labels; i++) printf(" %10.10s", t->labels[i].id);
    putchar('\n');
    for (size_t right = 0; right < q->n_labels; right++) {
        printf("  %-16.16s", t->labels[right].id);
        for (size_t given = 0; given < q->n_labels; given++) printf(" %10zu", q->confusion[right * q->n_labels + given]);
        putchar('\n');
    }
}

void calibration_report_print(const calibration_report *r, bool is_json) {
    const task *t = r->key->task;
    if (r->after.log_loss > r->before.log_loss)
        report_note("%s", TR("calibration makes these answers no better: more or more varied texts may; --remove takes it back",
                             "校准没有改善结果；可增加文本数量或种类；--remove 可撤销"));
    if (is_json) {
        print_json(r);
        return;
    }
    printf(TR("%s, %s, %s: %zu labelled texts\n", "%s，%s，%s：%zu 条带标签的文本\n"), t->name, r->key->model_name, r->key->weights,
           r->learnt.n_rows);
    print_figures(&r->before, &r->after);
    print_confusion(t, &r->after);
    printf(TR("Temperature %.4f; biases:", "温度 %.4f；偏置："), r->learnt.values.temperature);
    for (size_t i = 0; i < t->n_labels; i++) printf(" %s %+.4f", t->labels[i].id, r->learnt.values.biases[i]);
    printf(TR("\nAfter is cross-validated (%d folds): each text is judged by a calibration that has not seen it.\n",
              "\n“校准后”为 %d 折交叉验证：每条文本都由没有见过它的校准来评判。\n"),
           CALIBRATION_FOLDS);
    if (r->path)
        printf(TR("Stored: %s\n", "已存储：%s\n"), r->path);
    else
        puts(TR("Not stored (--dry-run).", "未存储（--dry-run）。"));
}

void calibration_note(char *out, size_t bytes, const found_calibration *found) {
    if (found->is_used)
        snprintf(out, bytes, TR("from %zu texts, %s, temperature %.4f", "来自 %zu 条文本，%s，温度 %.4f"), found->stored.n_rows,
                 found->stored.date, found->stored.values.temperature);
    else
        snprintf(out, bytes, TR("ignored: %s", "未使用：%s"), found->why_not.message);
}
