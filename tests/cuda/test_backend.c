/* The CUDA backend over the emulation of its launch model (tests/cuda/emulation), or, with TESSERA_CUDA_MODULE set,
 * over the module that it names: on a machine with a GPU the same suites run on the device. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/elementwise.h"
#include "autograd/program.h"
#include "autograd/softmax.h"
#include "core/device.h"
#include "tests/support/op_check.h"

static ts_error err;

Test(cuda_backend, memory_goes_there_and_back)
{
    ts_device *device;
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    cr_assert_eq(ts_device_open("cuda", 0, &device, &err), TS_OK, "%s", err.text);
    float there[1000], back[1000];
    for (int i = 0; i < 1000; i++)
        there[i] = (float)i;
    void *a, *b;
    cr_assert_eq(device->backend->alloc(device, sizeof there, &a, &err), TS_OK);
    cr_assert_eq(device->backend->alloc(device, sizeof there, &b, &err), TS_OK);
    device->backend->upload(device, a, there, sizeof there);
    device->backend->copy(device, b, a, sizeof there);
    device->backend->zero(device, (char *)b + 400, 400);
    device->backend->download(device, back, b, sizeof back);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(back[i], i >= 100 && i < 200 ? 0 : there[i], "element %d", i);
    device->backend->release(device, a, sizeof there);
    device->backend->release(device, b, sizeof there);
    cr_assert_eq(ts_device_check(device, &err), TS_OK, "%s", err.text);
    ts_device_close(device);
}

Test(cuda_backend, says_what_it_is)
{
    ts_device *device;
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    cr_assert_eq(ts_device_open("cuda", 0, &device, &err), TS_OK, "%s", err.text);
    cr_expect(strstr(device->notes, "compute capability") && strstr(device->notes, "multiprocessors"), "%s",
              device->notes);
    ts_device_close(device);
}

Test(cuda_backend, no_such_device_is_said)
{
    ts_device *device;
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    cr_assert_eq(ts_device_open("cuda:99", 0, &device, &err), TS_ERR_DEVICE);
    cr_assert_neq(strstr(err.text, "device cuda:99: this machine has"), NULL, "%s", err.text);
    setenv("TESSERA_CUDA_MODULE", "/nowhere/libtessera-cuda.so", 1);
    cr_assert_eq(ts_device_open("cuda", 0, &device, &err), TS_ERR_DEVICE);
    cr_assert_neq(strstr(err.text, "device cuda: /nowhere/libtessera-cuda.so: cannot open"), NULL, "%s", err.text);
    cr_assert_eq(ts_device_open("auto", 0, &device, &err), TS_OK, "%s", err.text);
    cr_assert_str_eq(device->backend->name, "cpu");
    ts_device_close(device);
}

/* Runs 1 (step by step), 2 (recorded) and 3 (replayed) of one program, each with other inputs. */
Test(cuda_backend, replays_with_new_inputs)
{
    ts_device *device;
    ts_program *program;
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    cr_assert_eq(ts_device_open("cuda", 0, &device, &err), TS_OK, "%s", err.text);
    ts_workspace *workspace = ts_workspace_new(device);
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value a = ts_input(g, "a", TS_F32, ts_shape_of(5, 7)), b = ts_input(g, "b", TS_F32, ts_shape_of(7));
    ts_value y = ts_mul(ts_add(a, b), a);
    ts_output(y, "y");
    cr_assert_eq(ts_program_new(g, workspace, &program, &err), TS_OK, "%s", err.text);
    for (int run = 0; run < 3; run++) {
        float x[35], z[7], out[35];
        for (int i = 0; i < 35; i++)
            x[i] = (float)(i + run);
        for (int i = 0; i < 7; i++)
            z[i] = (float)(i * run);
        ts_program_set(program, a, x);
        ts_program_set(program, b, z);
        cr_assert_eq(ts_program_run(program, &err), TS_OK, "%s", err.text);
        ts_program_get(program, y, out);
        for (int i = 0; i < 35; i++)
            cr_assert_eq(out[i], (x[i] + z[i % 7]) * x[i], "run %d, element %d", run, i);
    }
    ts_program_free(program);
    ts_graph_free(g);
    ts_workspace_free(workspace);
    ts_device_close(device);
}

/* A fetch has what was there when it began, whatever comes behind it. */
Test(cuda_backend, fetches_are_of_their_run)
{
    ts_device *device;
    ts_program *program;
    ts_fetch *fetch[2];
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 0);
    cr_assert_eq(ts_device_open("cuda", 0, &device, &err), TS_OK, "%s", err.text);
    ts_workspace *workspace = ts_workspace_new(device);
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value a = ts_input(g, "a", TS_F32, ts_shape_of(3)), y = ts_add(a, a);
    ts_output(y, "y");
    cr_assert_eq(ts_program_new(g, workspace, &program, &err), TS_OK, "%s", err.text);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(ts_fetch_new(program, y, &fetch[i], &err), TS_OK, "%s", err.text);
    for (int run = 0; run < 5; run++) {
        ts_program_set(program, a, (float[3]){(float)run, 1, (float)-run});
        cr_assert_eq(ts_program_run(program, &err), TS_OK, "%s", err.text);
        ts_fetch_begin(fetch[run % 2]);
        float found[3];
        if (run == 0)
            continue;
        cr_assert_eq(ts_fetch_end(fetch[(run - 1) % 2], found, &err), TS_OK, "%s", err.text);
        cr_assert(found[0] == (float)(2 * run - 2) && found[1] == 2 && found[2] == -found[0], "run %d", run);
    }
    for (int i = 0; i < 2; i++)
        ts_fetch_free(fetch[i]); /* one of them is still on its way */
    ts_program_free(program);
    ts_graph_free(g);
    ts_workspace_free(workspace);
    ts_device_close(device);
}

/* y = (a + a) * a, the sum in the scope "sum", the product in "product". Runs it thrice; what the first that fails
 * says.
 */
static const char *failure_of(const char *one_by_one)
{
    ts_device *device;
    ts_program *program;
    setenv("TESSERA_CUDA_MODULE", TESSERA_CUDA_EMULATED, 1);
    setenv("TESSERA_CUDA_SYNC", one_by_one, 1);
    cr_assert_eq(ts_device_open("cuda", 0, &device, &err), TS_OK, "%s", err.text);
    ts_workspace *workspace = ts_workspace_new(device);
    ts_graph *g = ts_graph_new(TS_F32);
    ts_value a = ts_input(g, "a", TS_F32, ts_shape_of(3));
    ts_graph_set_path(g, "first");
    ts_value share = ts_softmax(a);
    ts_graph_set_path(g, "second");
    ts_output(ts_mul(share, a), "y");
    cr_assert_eq(ts_program_new(g, workspace, &program, &err), TS_OK, "%s", err.text);
    ts_program_set(program, a, (float[3]){1, 2, 3});
    ts_status status = TS_OK;
    for (int run = 0; run < 3 && status == TS_OK; run++) {
        if (run == 1)
            setenv("TESSERA_EMULATED_FAULT", "softmax", 1);
        status = ts_program_run(program, &err);
        if (status == TS_OK)
            status = ts_device_check(device, &err);
    }
    cr_expect_eq(status, TS_ERR_DEVICE);
    ts_program_free(program);
    ts_graph_free(g);
    ts_workspace_free(workspace);
    ts_device_close(device);
    return err.text;
}

/* A kernel that fails while a recorded program runs: the message says how to learn which. */
Test(cuda_backend, a_failure_in_a_recorded_program_says_how_to_find_the_op)
{
    const char *text = failure_of("0");
    cr_expect(strstr(text, "cudaErrorLaunchFailure") && strstr(text, "with TESSERA_CUDA_SYNC=1 it is named"), "%s",
              text);
}

Test(cuda_backend, one_by_one_a_failure_has_its_scope_and_op)
{
    const char *text = failure_of("1");
    cr_expect_eq(strncmp(text, "first: softmax: CUDA: ", 22), 0, "%s", text);
    cr_expect(!strstr(text, "TESSERA_CUDA_SYNC"), "%s", text);
}
