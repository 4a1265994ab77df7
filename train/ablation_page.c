#include "train/ablation_page.h"

#include <string.h>

void page_text(const ablation_page *page, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '&':
            fputs("&amp;", page->out);
            break;
        case '<':
            fputs("&lt;", page->out);
            break;
        case '>':
            fputs("&gt;", page->out);
            break;
        case '"':
            fputs("&quot;", page->out);
            break;
        default:
            fputc(*text, page->out);
        }
}

void page_base64(const ablation_page *page, const unsigned char *bytes, size_t count)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < count; i += 3) {
        unsigned v = (unsigned)bytes[i] << 16;
        v |= i + 1 < count ? (unsigned)bytes[i + 1] << 8 : 0;
        v |= i + 2 < count ? (unsigned)bytes[i + 2] : 0;
        fputc(digit[v >> 18 & 63], page->out);
        fputc(digit[v >> 12 & 63], page->out);
        fputc(i + 1 < count ? digit[v >> 6 & 63] : '=', page->out);
        fputc(i + 2 < count ? digit[v & 63] : '=', page->out);
    }
}

void page_svg(const ablation_page *p, const char *svg, const char *about)
{
    fputs("<img alt=\"", p->out);
    page_text(p, about);
    fputs("\" src=\"data:image/svg+xml;base64,", p->out);
    page_base64(p, (const unsigned char *)svg, strlen(svg));
    fputs("\">", p->out);
}

bool page_has_sizes(const ablation_page *p)
{
    return p->a->sizes[0] != 0;
}

const ts_ablation_result *page_first_seed(const ablation_page *p, int series, int size)
{
    for (int i = 0; i < p->a->cell_count; i++) {
        const ts_ablation_result *r = &p->results->result[i];
        if (r->cell->series == series && r->cell->size == p->a->sizes[size] && r->train_count)
            return r;
    }
    return NULL;
}
