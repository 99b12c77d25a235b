#include "cli/row_resume.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/locale.h"

#define READ_BYTES ((size_t)1 << 16)

/* Bytes read, fewer than n only at the end of the file; -1 with errno. */
static ssize_t read_at(int fd, void *out, size_t n, uint64_t offset) {
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, (char *)out + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

static qaio_status count_lines(resume_point *out, int fd, qaio_error *err) {
    char *buffer = mem_alloc(READ_BYTES);
    if (!buffer) return error_memory(err);
    ssize_t n;
    for (uint64_t offset = 0; (n = read_at(fd, buffer, READ_BYTES, offset)) > 0; offset += (uint64_t)n)
        for (ssize_t i = 0; i < n; i++)
            if (buffer[i] == '\n') {
                out->n_rows++;
                out->n_bytes = offset + (uint64_t)i + 1;
            }
    mem_free(buffer);
    return n < 0 ? error_errno(err, "", "read", errno) : QAIO_OK;
}

/* *is_whole: the file begins with the header; a file that ends inside it has no rows. */
static qaio_status check_header(bool *is_whole, int fd, const char *header, size_t n, qaio_error *err) {
    char *found = mem_alloc(n);
    if (!found) return error_memory(err);
    ssize_t n_found = read_at(fd, found, n, 0);
    bool is_same = n_found >= 0 && memcmp(found, header, (size_t)n_found) == 0;
    mem_free(found);
    if (n_found < 0) return error_errno(err, "", "read", errno);
    if (!is_same)
        return error_set(
            err, QAIO_ERR_ARGUMENT,
            TR("it has other columns, so it is the result of other tasks or another file", "它的列不同，应是其他任务或其他文件的结果"));
    *is_whole = (size_t)n_found == n;
    return QAIO_OK;
}

static qaio_status count_records(resume_point *out, int fd, size_t header_bytes, qaio_error *err) {
    if (lseek(fd, (off_t)header_bytes, SEEK_SET) < 0) return error_errno(err, "", "read", errno);
    csv_reader r;
    csv_record record = {0};
    csv_status got;
    csv_reader_init(&r, fd);
    r.has_begun = true; /* a byte order mark here would be text */
    out->n_bytes = header_bytes;
    char last = '\n';
    while (last == '\n' && (got = csv_read(&r, &record, err)) == CSV_RECORD && read_at(fd, &last, 1, header_bytes + r.n_bytes - 1) == 1)
        if (last == '\n') {
            out->n_rows++;
            out->n_bytes = header_bytes + r.n_bytes;
        }
    int error = r.error;
    csv_record_deinit(&record);
    csv_reader_deinit(&r);
    return error ? error_errno(err, "", "read", error) : QAIO_OK;
}

qaio_status find_resume_point(resume_point *out, int fd, file_format format, const char *header, size_t header_bytes, qaio_error *err) {
    resume_point point = {0};
    bool is_whole = true;
    qaio_status status = header_bytes ? check_header(&is_whole, fd, header, header_bytes, err) : QAIO_OK;
    if (!status && is_whole) status = format == FORMAT_CSV ? count_records(&point, fd, header_bytes, err) : count_lines(&point, fd, err);
    if (!status) *out = point;
    return status;
}
