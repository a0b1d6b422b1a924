// SPDX-License-Identifier: GPL-2.0
/*
 * Causes of refusals, counted: for the question "why is this buffer not taken?".
 *
 * An importer has one table of causes, in the order of the errno table of its
 * uapi header. Counting takes no lock; the table is as static as the module,
 * whose debugfs files are gone before it is.
 */
#include <linux/debugfs.h>
#include <linux/errname.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include "p2pbuf_core.h"

/**
 * p2pbuf_cause_count - a buffer was refused
 * @table: the importer's causes; the last entry has @err 0 and takes the rest
 * @err: for which cause, negative
 *
 * Context: any.
 * Return: the cause in words.
 */
const char *p2pbuf_cause_count(struct p2pbuf_cause *table, int err)
{
	while (table->err && table->err != -err)
		table++;
	atomic64_inc(&table->count);
	return table->why;
}
EXPORT_SYMBOL_GPL(p2pbuf_cause_count);

static int refusals_show(struct seq_file *s, void *unused)
{
	struct p2pbuf_cause *r = s->private;

	do {
		seq_printf(s, "%lld %s: %s\n", atomic64_read(&r->count),
			   r->err ? errname(r->err) : "-", r->why);
	} while (r++->err);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(refusals);

/**
 * p2pbuf_causes_create_file - show the counts in debugfs
 * @table: the importer's causes; must outlive the file
 * @dir: where to put the file "refusals", one line a cause
 *
 * Context: process context. Removed with @dir; like all of debugfs it is
 * allowed to fail, and then there is no file.
 */
void p2pbuf_causes_create_file(struct p2pbuf_cause *table,
			       struct dentry *dir)
{
	debugfs_create_file("refusals", 0400, dir, table, &refusals_fops);
}
EXPORT_SYMBOL_GPL(p2pbuf_causes_create_file);
