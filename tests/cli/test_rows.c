/* Files of texts: CSV at its edges, lines with limits, columns found, bytes kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/json_out.h"
#include "cli/rows.h"

/* All records as "a|b;c|d;", an error as "!;". */
static void records_of(const char *data, size_t bytes, str *out) {
    csv_reader r;
    csv_record record = {0};
    qaio_error err;
    csv_status got;
    csv_reader_init_memory(&r, data, bytes);
    while ((got = csv_read(&r, &record, &err)) != CSV_END) {
        for (size_t i = 0; got == CSV_RECORD && i < record.n_fields; i++) {
            size_t n;
            const char *field = csv_field(&record, i, &n);
            if (i) str_putc(out, '|');
            str_append(out, field, n);
        }
        str_puts(out, got == CSV_ERROR ? "!;" : ";");
    }
    assert_int_equal(r.n_bytes, bytes);
    csv_record_deinit(&record);
    csv_reader_deinit(&r);
}

static void check_records(const char *data, const char *wanted) {
    str got = {0};
    records_of(data, strlen(data), &got);
    assert_string_equal(got.data ? got.data : "", wanted);
    str_deinit(&got);
}

static void csv_passes_the_edge_cases_of_rfc_4180(void **state) {
    (void)state;
    check_records("", "");
    check_records("a,b\n1,2\n", "a|b;1|2;");
    check_records("a,b\r\n1,2", "a|b;1|2;");
    check_records("a,b\r1,2\r", "a|b;1|2;");
    check_records("\xEF\xBB\xBF"
                  "a,b\n",
                  "a|b;");
    check_records("\xEF\xBB", "\xEF\xBB;");
    check_records("\"a,\"\"b\"\"\",\"c\nd\"\n", "a,\"b\"|c\nd;");
    check_records("\"a\r\nb\"\r\nc", "a\r\nb;c;");
    check_records(",\n", "|;");
    check_records("\"\"\n", ";");
    check_records("\n\na\n\n", "a;");
    check_records("a,\n", "a|;");
    check_records("a \"quoted\" word,b", "a \"quoted\" word|b;");
}

static void malformed_csv_costs_its_record_only(void **state) {
    (void)state;
    check_records("\"a\"b,c\nd\n", "!;d;");
    check_records("a,\"never closed\nb\n", "!;");
    str line = {0}, got = {0};
    for (int i = 0; i <= CSV_MAX_FIELDS; i++) str_putc(&line, ',');
    str_puts(&line, "\nb\n");
    records_of(line.data, line.len, &got);
    assert_string_equal(got.data, "!;b;");
    str_clear(&line);
    str_clear(&got);
    for (size_t i = 0; i < CSV_MAX_RECORD_BYTES + 5; i++) str_putc(&line, 'x');
    str_puts(&line, "\nb\n");
    records_of(line.data, line.len, &got);
    assert_string_equal(got.data, "!;b;");
    str_deinit(&line);
    str_deinit(&got);
}

static void what_is_written_is_read_back(void **state) {
    (void)state;
    const char *fields[] = {"", "plain", "a,b", "\"", "\"\"", "line\nbreak", "cr\r", " space ", "情绪,\"负面\"\r\n"};
    size_t n_fields = sizeof fields / sizeof *fields, n;
    str text = {0};
    for (size_t i = 0; i < n_fields; i++) {
        if (i) str_putc(&text, ',');
        csv_write_field(&text, fields[i], strlen(fields[i]));
    }
    csv_reader r;
    csv_record record = {0};
    qaio_error err;
    csv_reader_init_memory(&r, text.data, text.len);
    assert_int_equal(csv_read(&r, &record, &err), CSV_RECORD);
    assert_int_equal(record.n_fields, n_fields);
    for (size_t i = 0; i < n_fields; i++) {
        const char *field = csv_field(&record, i, &n);
        assert_int_equal(n, strlen(fields[i]));
        assert_memory_equal(field, fields[i], n);
    }
    csv_record_deinit(&record);
    csv_reader_deinit(&r);
    str_deinit(&text);
}

static void failed_allocations_while_reading_csv_are_reported(void **state) {
    (void)state;
    for (long k = 0; k < 20; k++) {
        csv_reader r;
        csv_record record = {0};
        qaio_error err;
        csv_reader_init_memory(&r, "a,b,c,d\n1,2,3,4\n", 16);
        mem_fail_after(k);
        csv_status got = csv_read(&r, &record, &err);
        mem_fail_after(-1);
        if (got == CSV_ERROR)
            assert_int_equal(err.status, QAIO_ERR_MEMORY);
        else
            assert_int_equal(record.n_fields, 4);
        csv_record_deinit(&record);
        csv_reader_deinit(&r);
    }
}

static int file_of(const char *data, size_t n) {
    int fd = memfd_create("rows", 0);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n), n);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void lines_keep_their_limit_and_lose_nothing(void **state) {
    (void)state;
    const char data[] = "one\r\n\ntoo long for this\n中\nlast";
    int fd = file_of(data, sizeof data - 1);
    line_reader r;
    const char *line;
    size_t n;
    line_reader_init(&r, fd, 10);
    assert_int_equal(line_next(&r, true, &line, &n), LINE_OK);
    assert_int_equal(n, 3);
    assert_int_equal(line_next(&r, true, &line, &n), LINE_OK);
    assert_int_equal(n, 0);
    assert_int_equal(line_next(&r, true, &line, &n), LINE_TOO_LONG);
    assert_int_equal(line_next(&r, true, &line, &n), LINE_OK);
    assert_memory_equal(line, "中", 3);
    assert_int_equal(line_next(&r, true, &line, &n), LINE_OK);
    assert_memory_equal(line, "last", 4);
    assert_int_equal(line_next(&r, true, &line, &n), LINE_END);
    assert_int_equal(r.n_taken, sizeof data - 1);
    line_reader_deinit(&r);
    close(fd);
}

static void a_line_of_megabytes_over_the_limit_takes_no_memory(void **state) {
    (void)state;
    str data = {0};
    for (int i = 0; i < 5 << 20; i++) str_putc(&data, 'x');
    str_puts(&data, "\nok\n");
    int fd = file_of(data.data, data.len);
    line_reader r;
    const char *line;
    size_t n;
    line_reader_init(&r, fd, 1000);
    assert_int_equal(line_next(&r, true, &line, &n), LINE_TOO_LONG);
    assert_int_equal(line_next(&r, true, &line, &n), LINE_OK);
    assert_int_equal(n, 2);
    assert_true(r.capacity < 1 << 20);
    line_reader_deinit(&r);
    str_deinit(&data);
    close(fd);
}

static void a_line_that_has_not_come_is_not_waited_for(void **state) {
    (void)state;
    int ends[2];
    line_reader r;
    const char *line;
    size_t n;
    assert_int_equal(pipe(ends), 0);
    line_reader_init(&r, ends[0], 100);
    assert_int_equal(write(ends[1], "half", 4), 4);
    assert_int_equal(line_next(&r, false, &line, &n), LINE_NOT_YET);
    assert_int_equal(write(ends[1], " line\n", 6), 6);
    assert_int_equal(line_next(&r, false, &line, &n), LINE_OK);
    assert_memory_equal(line, "half line", 9);
    close(ends[1]);
    assert_int_equal(line_next(&r, false, &line, &n), LINE_END);
    line_reader_deinit(&r);
    close(ends[0]);
}

/* The texts of all rows, "a;b;", a row that failed as "!;". */
static qaio_status texts_of(const char *data, file_format format, const char *column, str *out) {
    int fd = file_of(data, strlen(data));
    row_reader r;
    row next;
    qaio_error err;
    qaio_status status = row_reader_open(&r, fd, format, column, &err);
    if (!status) {
        while (row_read(&r, &next, &err) == ROW_OK) {
            str_append(out, next.text.data ? next.text.data : "", next.text.len);
            str_puts(out, next.status ? "!;" : ";");
            row_deinit(&next);
        }
        row_reader_close(&r);
    }
    close(fd);
    return status;
}

static void check_texts(const char *data, file_format format, const char *column, const char *wanted) {
    str got = {0};
    qaio_status status = texts_of(data, format, column, &got);
    if (wanted)
        assert_string_equal(got.data ? got.data : "", wanted);
    else
        assert_int_equal(status, QAIO_ERR_ARGUMENT);
    str_deinit(&got);
}

static void the_text_column_is_found(void **state) {
    (void)state;
    check_texts("id,text\n1,a\n2,b\n", FORMAT_CSV, NULL, "a;b;");
    check_texts("label,review\n1,好\n", FORMAT_CSV, NULL, "好;");
    check_texts("anything\na\n", FORMAT_CSV, NULL, "a;");
    check_texts("编号,文本\n1,好\n", FORMAT_CSV, NULL, "好;");
    check_texts("id,Body\n1,a\n", FORMAT_CSV, "body", "a;");
    check_texts("id,body\n1,a\n", FORMAT_CSV, NULL, NULL);
    check_texts("id,text\n1,a\n", FORMAT_CSV, "body", NULL);
    check_texts("{\"id\":1,\"content\":\"a\"}\n\n{\"content\":\"b\"}\n", FORMAT_JSONL, NULL, "a;b;");
    check_texts("\xEF\xBB\xBF"
                "a\nb\n",
                FORMAT_TXT, NULL, "a;b;");
    check_texts("", FORMAT_TXT, NULL, "");
    check_texts("", FORMAT_JSONL, NULL, "");
}

static void a_bad_row_fails_alone(void **state) {
    (void)state;
    check_texts("id,text\n1\n2,b\n3,c,d\n4,\xB0\xA1\n5,e\n", FORMAT_CSV, NULL, "!;b;!;!;e;");
    check_texts("{\"text\":\"a\"}\nnonsense\n{\"text\":5}\n[1]\n{}\n{\"text\":\"b\"}\n", FORMAT_JSONL, NULL, "a;!;!;!;!;b;");
    check_texts("nonsense\n{\"text\":\"b\"}\n", FORMAT_JSONL, NULL, "!;b;");
}

static void failed_allocations_while_reading_rows_are_reported(void **state) {
    (void)state;
    const char data[] = "id,text,more\n1,a,x\n2,b,y\n";
    for (file_format format = FORMAT_CSV; format <= FORMAT_TXT; format++)
        for (long k = 0; k < 40; k++) {
            int fd = file_of(data, sizeof data - 1);
            row_reader r;
            row next;
            qaio_error err = {0};
            mem_fail_after(k);
            qaio_status status = row_reader_open(&r, fd, format, NULL, &err);
            row_next got = status ? ROW_END : row_read(&r, &next, &err);
            mem_fail_after(-1);
            if (status && format != FORMAT_JSONL) assert_int_equal(status, QAIO_ERR_MEMORY);
            if (got == ROW_OK && !next.status) assert_true(next.text.len > 0);
            if (!status) row_deinit(&next);
            if (!status) row_reader_close(&r);
            close(fd);
        }
}

static void json_of_any_bytes_is_valid(void **state) {
    (void)state;
    json_t *value = json_text("a\xFF\xE4\xBD", 4);
    assert_non_null(value);
    assert_string_equal(json_string_value(value), "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    json_decref(value);
    value = json_text("x\0y", 3);
    assert_int_equal(json_string_length(value), 3);
    json_decref(value);
}

static void json_lines_have_no_line_separators_inside(void **state) {
    (void)state;
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    json_print_to(json_pack("{s:s}", "t",
                            "a\xC2\x85"
                            "b\xE2\x80\xA8"
                            "c\xE2\x80\xA9\xE2\x80\xAA\xC2\xA0"),
                  out, 9);
    fclose(out);
    assert_string_equal(text, "{\"t\":\"a\\u0085b\\u2028c\\u2029\xE2\x80\xAA\xC2\xA0\"}\n");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_passes_the_edge_cases_of_rfc_4180),
        cmocka_unit_test(malformed_csv_costs_its_record_only),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(failed_allocations_while_reading_csv_are_reported),
        cmocka_unit_test(lines_keep_their_limit_and_lose_nothing),
        cmocka_unit_test(a_line_of_megabytes_over_the_limit_takes_no_memory),
        cmocka_unit_test(a_line_that_has_not_come_is_not_waited_for),
        cmocka_unit_test(the_text_column_is_found),
        cmocka_unit_test(a_bad_row_fails_alone),
        cmocka_unit_test(failed_allocations_while_reading_rows_are_reported),
        cmocka_unit_test(json_of_any_bytes_is_valid),
        cmocka_unit_test(json_lines_have_no_line_separators_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
