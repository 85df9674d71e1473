/* Counts the instructions that a program runs in QEMU's user emulation: a plugin for it.
 *
 * At the end it writes the number to standard error. Of QEMU's interface (qemu-plugin.h) only what
 * is used is declared here: Debian does not package the header. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_info;

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*made)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, void (*ran)(unsigned int, void *),
                                          int flags, void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*end)(plugin_id, void *), void *data);

/* That of QEMU 7. */
EXPORT int qemu_plugin_version = 1;

static uint64_t total;

/* The guests compute on one thread; what others of theirs do at the same time may be lost. */
static void ran(unsigned int cpu, void *instructions)
{
    (void)cpu;
    total += (uintptr_t)instructions;
}

static void made(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, ran, 0, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void end(plugin_id id, void *data)
{
    (void)id;
    (void)data;
    fprintf(stderr, "instructions: %" PRIu64 "\n", total);
}

EXPORT int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int count, char **arguments)
{
    (void)info;
    (void)count;
    (void)arguments;
    qemu_plugin_register_vcpu_tb_trans_cb(id, made);
    qemu_plugin_register_atexit_cb(id, end, NULL);
    return 0;
}
