/* CSV of any content: read to its end, and every record that was read comes back the same after writing. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/csv.h"

static void check_round_trip(const csv_record *record) {
    str text = {0};
    csv_reader again;
    csv_record copy = {0};
    qaio_error err;
    size_t n, m;
    for (size_t i = 0; i < record->n_fields; i++) {
        const char *field = csv_field(record, i, &n);
        if (i) str_putc(&text, ',');
        csv_write_field(&text, field, n);
    }
    str_putc(&text, '\n');
    /* One empty field is an empty line, which is no record; a byte order mark would be skipped. */
    if (text.len > 1 && memcmp(text.data, "\xEF\xBB\xBF", text.len < 3 ? text.len : 3) != 0) {
        csv_reader_init_memory(&again, text.data, text.len);
        if (csv_read(&again, &copy, &err) != CSV_RECORD || copy.n_fields != record->n_fields) abort();
        for (size_t i = 0; i < record->n_fields; i++) {
            const char *a = csv_field(record, i, &n), *b = csv_field(&copy, i, &m);
            if (n != m || memcmp(a, b, n) != 0) abort();
        }
        csv_reader_deinit(&again);
    }
    csv_record_deinit(&copy);
    str_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    csv_reader r;
    csv_record record = {0};
    qaio_error err;
    csv_status got;
    csv_reader_init_memory(&r, (const char *)data, n);
    while ((got = csv_read(&r, &record, &err)) != CSV_END)
        if (got == CSV_RECORD) check_round_trip(&record);
    csv_record_deinit(&record);
    csv_reader_deinit(&r);
    return 0;
}
