#include "core/files/layout.h"

#include <criterion/criterion.h>
#include <string.h>

enum { MOST = 2 * 3 * 4 * 5 };

/* Element [a, h, w, c] is element [a, c, h, w] in torch's tensor. */
Test(core_files_layout, axes_of_a_2d_weight)
{
    ts_shape ours = ts_shape_of(2, 3, 4, 5);
    float from[MOST], to[MOST], back[MOST];
    cr_assert(ts_shape_equal(ts_layout_torch_shape(ours), ts_shape_of(2, 5, 3, 4)));
    for (int i = 0; i < MOST; i++)
        from[i] = (float)i;
    ts_layout_to_torch(TS_F32, ours, from, to);
    for (int a = 0; a < 2; a++)
        for (int h = 0; h < 3; h++)
            for (int w = 0; w < 4; w++)
                for (int c = 0; c < 5; c++)
                    cr_assert_eq(to[((a * 5 + c) * 3 + h) * 4 + w], from[((a * 3 + h) * 4 + w) * 5 + c]);
    ts_layout_from_torch(TS_F32, ours, to, back);
    cr_assert_eq(memcmp(from, back, sizeof from), 0);
}

/* Any rank and width comes back; below rank 3 nothing moves. */
Test(core_files_layout, there_and_back)
{
    const ts_shape shapes[] = {ts_shape_of(2, 7, 5), ts_shape_of(4, 1, 1, 6), ts_shape_of(3, 2, 2, 2, 3),
                               ts_shape_of(8, 9),    ts_shape_of(11),         ts_shape_of()};
    double from[MOST], to[MOST], back[MOST];
    for (int i = 0; i < MOST; i++)
        from[i] = i + 0.5;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        size_t bytes = (size_t)ts_shape_count(shapes[i]) * sizeof *from;
        ts_layout_to_torch(TS_F64, shapes[i], from, to);
        ts_layout_from_torch(TS_F64, shapes[i], to, back);
        cr_assert_eq(memcmp(from, back, bytes), 0);
        cr_assert_eq(ts_shape_count(ts_layout_torch_shape(shapes[i])), ts_shape_count(shapes[i]));
        if (shapes[i].rank < 3)
            cr_assert_eq(memcmp(from, to, bytes), 0, "rank %d moves", shapes[i].rank);
    }
}
