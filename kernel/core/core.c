// SPDX-License-Identifier: GPL-2.0
/* Module of the importer half of the dma-buf contract. */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include "core.h"
#define CREATE_TRACE_POINTS
#include "trace.h"

struct workqueue_struct *p2pbuf_wq;
struct workqueue_struct *p2pbuf_poll_wq;
static struct dentry *p2pbuf_debugfs;

/**
 * p2pbuf_debugfs_root - the directory p2pbuf in debugfs
 *
 * Return: for importers to put their files in; an ERR_PTR where there is no
 * debugfs, which the debugfs functions accept.
 */
struct dentry *p2pbuf_debugfs_root(void)
{
	return p2pbuf_debugfs;
}
EXPORT_SYMBOL_GPL(p2pbuf_debugfs_root);

static int attachments_show(struct seq_file *s, void *unused)
{
	p2pbuf_attachments_show(s);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(attachments);

static int __init p2pbuf_core_init(void)
{
	int ret;

	/* Reclaim may wait for an exporter that waits for our unmap. */
	p2pbuf_wq = alloc_workqueue("p2pbuf", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!p2pbuf_wq)
		return -ENOMEM;
	ret = -ENOMEM;
	p2pbuf_poll_wq = alloc_workqueue("p2pbuf_poll",
					 WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!p2pbuf_poll_wq)
		goto destroy_wq;
	ret = p2pbuf_cpu_init();
	if (ret)
		goto destroy_poll_wq;
	ret = p2pbuf_attachments_init();
	if (ret)
		goto exit_cpu;
	p2pbuf_debugfs = debugfs_create_dir("p2pbuf", NULL);
	debugfs_create_file("attachments", 0400, p2pbuf_debugfs, NULL,
			    &attachments_fops);
	return 0;

exit_cpu:
	p2pbuf_cpu_exit();
destroy_poll_wq:
	destroy_workqueue(p2pbuf_poll_wq);
destroy_wq:
	destroy_workqueue(p2pbuf_wq);
	return ret;
}

static void __exit p2pbuf_core_exit(void)
{
	debugfs_remove_recursive(p2pbuf_debugfs);
	p2pbuf_attachments_exit();
	p2pbuf_cpu_exit();
	destroy_workqueue(p2pbuf_poll_wq);
	destroy_workqueue(p2pbuf_wq);
	/* Mappings are freed by RCU callbacks that live in this module. */
	rcu_barrier();
}

module_init(p2pbuf_core_init);
module_exit(p2pbuf_core_exit);
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("p2pbuf: importer half of the dma-buf contract");
