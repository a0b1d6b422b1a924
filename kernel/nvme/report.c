// SPDX-License-Identifier: GPL-2.0
/*
 * Report: debugfs, for the question "why is it slow, or not working?".
 *
 *	p2pbuf/nvme/bindings	one line a binding: path, counters
 *	p2pbuf/nvme/refusals	how often BIND was refused, for which cause
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>
#include "nvme.h"

/* In the order of the table in the uapi header. */
static struct p2pbuf_cause causes[] = {
	{ EINVAL, "malformed request" },
	{ EDOM, "offset or length not a multiple of 4096" },
	{ EBADF, "file descriptor not open" },
	{ EBADFD, "not a dma-buf" },
	{ ENOTBLK, "not a block device" },
	{ EPROTOTYPE, "not a namespace of the nvme driver on PCI" },
	{ EMLINK, "multipath head" },
	{ EMEDIUMTYPE, "zoned namespace" },
	{ EOPNOTSUPP, "namespace formatted with metadata" },
	{ EPROTO, "the nvme driver does not behave as needed" },
	{ ERANGE, "range outside the buffer" },
	{ EACCES, "no direction allowed by the file descriptors" },
	{ EMFILE, "too many bindings in one open file" },
	{ EDQUOT, "table memory over RLIMIT_MEMLOCK" },
	{ EIO, "device does not answer, or cannot read its first block" },
	{ ENODEV, "device going away" },
	{ EREMOTEIO, "buffer in host memory" },
	{ EHOSTUNREACH, "no route to the exporter's BAR" },
	{ EHOSTDOWN, "exporter's BAR does not decode" },
	{ EFAULT, "address leads nowhere" },
	{ EADDRNOTAVAIL, "bounce buffers" },
	{ ENODATA, "nobody can tell where addresses lead" },
	{ 0, "other" },
};

static LIST_HEAD(report_bindings);
static DEFINE_MUTEX(nvme_report_lock);
static struct dentry *report_dir;

void p2pbuf_nvme_report_refusal(int err, u32 reason)
{
	const char *why = p2pbuf_cause_count(causes, err);

	pr_debug("p2pbuf_nvme: bind refused: %s; %s\n", why,
		 p2pbuf_reason_text(reason));
}

void p2pbuf_nvme_report_add(struct p2pbuf_nvme_binding *b)
{
	mutex_lock(&nvme_report_lock);
	list_add_tail(&b->node, &report_bindings);
	mutex_unlock(&nvme_report_lock);
}

void p2pbuf_nvme_report_del(struct p2pbuf_nvme_binding *b)
{
	mutex_lock(&nvme_report_lock);
	list_del(&b->node);
	mutex_unlock(&nvme_report_lock);
}

/* Everybody who binds or unbinds waits for the list meanwhile. */
static void binding_show(struct p2pbuf_nvme_binding *b, struct seq_file *s)
{
	struct p2pbuf_nvme_bind_info info = {};

	lockdep_assert_held(&nvme_report_lock);

	seq_printf(s, "%pg %s ", b->ns.bdev, pci_name(b->ns.pdev));
	if (!p2pbuf_nvme_binding_peek(b, &info)) {
		seq_puts(s, "busy\n");
		return;
	}
	seq_printf(s, "path=%s generation=%llu offset=%llu length=%llu rights=%x reads=%llu writes=%llu peer=%llu system=%llu errors=%llu deferred=%llu invalidations=%llu tables=%llu\n",
		   p2pbuf_path_name(info.path.path), info.path.generation,
		   info.offset, info.length, info.rights, info.reads,
		   info.writes, info.bytes_peer, info.bytes_system,
		   info.errors, info.deferred, info.invalidations,
		   info.table_bytes);
}

static int bindings_show(struct seq_file *s, void *unused)
{
	struct p2pbuf_nvme_binding *b;

	mutex_lock(&nvme_report_lock);
	list_for_each_entry(b, &report_bindings, node)
		binding_show(b, s);
	mutex_unlock(&nvme_report_lock);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(bindings);

void p2pbuf_nvme_report_init(void)
{
	report_dir = debugfs_create_dir("nvme", p2pbuf_debugfs_root());
	debugfs_create_file("bindings", 0400, report_dir, NULL,
			    &bindings_fops);
	p2pbuf_causes_create_file(causes, report_dir);
}

void p2pbuf_nvme_report_exit(void)
{
	debugfs_remove_recursive(report_dir);
}
