#define _GNU_SOURCE
/* train.fold: a run learns the same with it and without, a checkpoint remembers it, and what reads one may change it;
 * an exported graph is as the model was built. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/train/run_program.h"

#define MSE(...) number_in_output(OUTPUT("eval", __VA_ARGS__, "--json", "--device", "cpu"), "mse")

/* Not the same, and no further apart than sums of floats in another order are. */
static void expect_near(double a, double b, double tolerance, const char *what)
{
    cr_expect(fabs(a - b) > 0 && fabs(a - b) < tolerance * b, "%s: %.9g and %.9g", what, a, b);
}

Test(train_fold, changes_the_last_bits_of_a_training_alone)
{
    temp_folder folder = temp_folder_make();
    const char *config = tiny_config(&folder), *run[] = {kept_path(&folder, "as_built"), kept_path(&folder, "folded")};
    free(OUTPUT("train", config, "--run", run[0], "--quiet", "--device", "cpu", "train.steps=12", "train.fold=false"));
    free(OUTPUT("train", config, "--run", run[1], "--quiet", "--device", "cpu", "train.steps=12"));
    double built = MSE(kept_path(&folder, "as_built/checkpoints/last.h5"));
    double folded = MSE(kept_path(&folder, "folded/checkpoints/last.h5"));
    expect_near(folded, built, 1e-3, "mse after 12 steps");
    temp_folder_remove(&folder);
}

Test(train_fold, checkpoints_remember_it_and_eval_may_change_it)
{
    temp_folder folder = temp_folder_make();
    const char *last = tiny_run(&folder);
    double without = MSE(last), same = MSE(last, "train.fold=true"), built = MSE(last, "train.fold=false");
    cr_expect(memcmp(&without, &same, sizeof same) == 0, "%.9g without an override, %.9g with the same", without, same);
    expect_near(built, same, 1e-5, "mse of one checkpoint");
    temp_folder_remove(&folder);
}

static bool contains(const char *path, const char *word)
{
    size_t bytes;
    char *file = file_content(path, &bytes);
    const bool found = memmem(file, bytes, word, strlen(word));
    free(file);
    return found;
}

Test(train_fold, an_exported_graph_is_as_the_model_was_built)
{
    temp_folder folder = temp_folder_make();
    const char *to = kept_path(&folder, "out");
    free(OUTPUT("export", tiny_run(&folder), "-o", to, "--to", "onnx", "--device", "cpu"));
    cr_expect(contains(kept_path(&folder, "out/decoder.onnx"), "Resize"));
    cr_expect(!contains(kept_path(&folder, "out/decoder.onnx"), "ConvTranspose"));
    temp_folder_remove(&folder);
}
