/* report_html.c - renders documents: Markdown that GitHub shows, HTML in one file with the pictures inside, tables for a terminal.
 *
 * It knows nothing of results; report.c says what is in a document. */
#include "report_document.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void table_cell(struct table *t, const char *format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    t->cells = xrealloc(t->cells, (size_t)t->count + 1, sizeof *t->cells);
    t->cells[t->count++] = xstrdup(text);
}

void table_free(struct table *t) {
    for (int i = 0; i < t->count; i++) free(t->cells[i]);
    free(t->cells);
    memset(t, 0, sizeof *t);
}

static int width_of(const char *text) {
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static bool left(const struct table *t, int column) { return t->heads[column][0] == '<'; }
static const char *head(const struct table *t, int column) { return t->heads[column] + left(t, column); }

static void print_cell(FILE *out, const char *text, int width, bool to_left, bool last) {
    int gap = width - width_of(text);
    if (!to_left) fprintf(out, "%*s", gap, "");
    fputs(text, out);
    if (!last) fprintf(out, "%*s  ", to_left ? gap : 0, "");
}

void table_print(const struct table *t, FILE *out) {
    int *width = xcalloc((size_t)t->columns, sizeof *width);
    for (int j = 0; j < t->columns; j++) {
        width[j] = width_of(head(t, j));
        for (int i = j; i < t->count; i += t->columns)
            if (width_of(t->cells[i]) > width[j]) width[j] = width_of(t->cells[i]);
    }
    for (int j = 0; j < t->columns; j++) print_cell(out, head(t, j), width[j], left(t, j), j + 1 == t->columns);
    for (int i = 0; i < t->count; i++) {
        if (i % t->columns == 0) fputc('\n', out);
        print_cell(out, t->cells[i], width[i % t->columns], left(t, i % t->columns), (i + 1) % t->columns == 0);
    }
    fputc('\n', out);
    free(width);
}

/* In a Markdown table a bar would end the cell. */
static void md_cell(struct text_buffer *b, const char *text) {
    for (; *text; text++) {
        if (*text == '|' || *text == '*' || *text == '_' || *text == '<') buffer_add(b, "\\", 1);
        buffer_add(b, text, 1);
    }
}

static const char *const style =
    "body{font:16px/1.5 system-ui,-apple-system,'Segoe "
    "UI',Helvetica,Arial,sans-serif;color:#1a1a1a;background:#fff;max-width:76rem;"
    "margin:2rem auto;padding:0 "
    "1.2rem}h1{font-size:1.7rem;margin-bottom:.3rem}h2{font-size:1.25rem;margin-top:2.2rem;border-bottom:1px "
    "solid #ddd;padding-bottom:.2rem}.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:"
    "tabular-nums;margin:.8rem 0}th{text-align:right;border-bottom:2px solid #444;padding:.3rem "
    ".6rem;vertical-align:bottom}td{text-align:"
    "right;border-bottom:1px solid #e4e4e4;padding:.25rem .6rem;white-space:nowrap}th.l,td.l{text-align:left}figure{margin:1.4rem "
    "0}"
    "figure svg{max-width:100%;height:auto}figcaption{font-size:.9rem;color:#444}li{margin:.15rem 0}";

void document_begin(struct page *d, const char *title) {
    memset(d, 0, sizeof *d);
    buffer_printf(&d->md, "# %s\n", title);
    buffer_printf(&d->html, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
                            "content=\"width=device-width,initial-scale=1\">\n<title>");
    buffer_escape(&d->html, title);
    buffer_printf(&d->html, "</title>\n<style>%s</style>\n</head>\n<body>\n<h1>", style);
    buffer_escape(&d->html, title);
    buffer_printf(&d->html, "</h1>\n");
}

static char *formatted(const char *format, va_list list) {
    va_list again;
    va_copy(again, list);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *text = xcalloc((size_t)n + 1, 1);
    vsnprintf(text, (size_t)n + 1, format, list);
    return text;
}

static void html_block(struct page *d, const char *tag, const char *text) {
    buffer_printf(&d->html, "<%s>", tag);
    buffer_escape(&d->html, text);
    buffer_printf(&d->html, "</%s>\n", tag);
}

/* A list is open in the HTML when it ends with an item. */
static void close_list(struct page *d, bool item) {
    static const char end[] = "</li>\n";
    bool open = d->html.n > 6 && strcmp(d->html.data + d->html.n - 6, end) == 0;
    if (item && !open) buffer_printf(&d->html, "<ul>\n");
    if (!item && open) buffer_printf(&d->html, "</ul>\n");
    if (item && !open) buffer_printf(&d->md, "\n");
}

void document_heading(struct page *d, const char *format, ...) {
    va_list list;
    va_start(list, format);
    char *text = formatted(format, list);
    va_end(list);
    close_list(d, false);
    buffer_printf(&d->md, "\n## %s\n", text);
    html_block(d, "h2", text);
    free(text);
}

void document_text(struct page *d, const char *format, ...) {
    va_list list;
    va_start(list, format);
    char *text = formatted(format, list);
    va_end(list);
    close_list(d, false);
    buffer_printf(&d->md, "\n%s\n", text);
    html_block(d, "p", text);
    free(text);
}

void document_item(struct page *d, const char *format, ...) {
    va_list list;
    va_start(list, format);
    char *text = formatted(format, list);
    va_end(list);
    close_list(d, true);
    buffer_printf(&d->md, "- %s\n", text);
    html_block(d, "li", text);
    free(text);
}

void document_table(struct page *d, const struct table *t) {
    close_list(d, false);
    buffer_printf(&d->md, "\n|");
    for (int j = 0; j < t->columns; j++) {
        buffer_printf(&d->md, " ");
        md_cell(&d->md, head(t, j));
        buffer_printf(&d->md, " |");
    }
    buffer_printf(&d->md, "\n|");
    for (int j = 0; j < t->columns; j++) buffer_printf(&d->md, left(t, j) ? ":--|" : "--:|");
    buffer_printf(&d->html, "<div class=\"wide\"><table>\n<thead><tr>");
    for (int j = 0; j < t->columns; j++) {
        buffer_printf(&d->html, left(t, j) ? "<th class=\"l\">" : "<th>");
        buffer_escape(&d->html, head(t, j));
        buffer_printf(&d->html, "</th>");
    }
    buffer_printf(&d->html, "</tr></thead>\n<tbody>\n");
    for (int i = 0; i < t->count; i++) {
        int j = i % t->columns;
        if (j == 0) buffer_printf(&d->md, "\n|"), buffer_printf(&d->html, "<tr>");
        buffer_printf(&d->md, " ");
        md_cell(&d->md, t->cells[i]);
        buffer_printf(&d->md, " |");
        buffer_printf(&d->html, left(t, j) ? "<td class=\"l\">" : "<td>");
        buffer_escape(&d->html, t->cells[i]);
        buffer_printf(&d->html, j + 1 == t->columns ? "</td></tr>\n" : "</td>");
    }
    buffer_printf(&d->md, "\n");
    buffer_printf(&d->html, "</tbody></table></div>\n");
}

/* Names inside a picture get its name in front: several pictures stand in one page. */
static void add_picture(struct text_buffer *b, const char *svg, const char *name) {
    static const char *const before[] = {" id=\"", " id='", "href='#", "href=\"#", "url(#"};
    while (*svg) {
        size_t n = 0;
        for (size_t i = 0; i < sizeof before / sizeof *before && !n; i++)
            if (strncmp(svg, before[i], strlen(before[i])) == 0) n = strlen(before[i]);
        buffer_add(b, svg, n ? n : 1);
        if (n) buffer_printf(b, "%s-", name);
        svg += n ? n : 1;
    }
}

void document_figure(struct page *d, const char *folder, const char *name, const char *caption) {
    char *path = xprintf("%s/%s.svg", folder, name);
    size_t size;
    char *svg = access(path, R_OK) == 0 ? read_file(path, &size, NULL) : NULL;
    free(path);
    if (!svg) return;
    close_list(d, false);
    buffer_printf(&d->md, "\n![%s](%s.svg)\n\n%s\n", name, name, caption);
    const char *body = strstr(svg, "<svg");
    buffer_printf(&d->html, "<figure>\n");
    if (body) add_picture(&d->html, body, name);
    buffer_printf(&d->html, "<figcaption>");
    buffer_escape(&d->html, caption);
    buffer_printf(&d->html, "</figcaption>\n</figure>\n");
    free(svg);
}

void document_end(struct page *d) {
    close_list(d, false);
    buffer_printf(&d->html, "</body>\n</html>\n");
}
