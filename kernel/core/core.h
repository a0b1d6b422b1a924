/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of p2pbuf_core.ko share among themselves. */
#ifndef P2PBUF_CORE_PRIVATE_H
#define P2PBUF_CORE_PRIVATE_H

#include "p2pbuf_core.h"

extern struct workqueue_struct *p2pbuf_wq;
/* Of its own: work on p2pbuf_wq may wait for what is polled for here. */
extern struct workqueue_struct *p2pbuf_poll_wq;

/* How long a wait goes without looking whether to give up. */
#define P2PBUF_WAIT_SLICE	(HZ / 10)

/* mapping.c */
bool p2pbuf_interrupted(void);
void p2pbuf_ignore_signal(void);
struct p2pbuf_mapping *p2pbuf_mapping_alloc(struct p2pbuf_attachment *att);
void p2pbuf_mapping_discard(struct p2pbuf_mapping *m);
void p2pbuf_mapping_publish(struct p2pbuf_mapping *m, struct sg_table *sgt);
void p2pbuf_mapping_kill(struct p2pbuf_attachment *att);
void p2pbuf_mapping_invalidate(struct p2pbuf_attachment *att);
int p2pbuf_mapping_reap(struct p2pbuf_attachment *att, bool interruptible);

/* flush.c */
bool p2pbuf_flush_needed(const struct p2pbuf_path_info *info);
int p2pbuf_flush_prepare(struct p2pbuf_attachment *att, struct sg_table *sgt,
			 const struct p2pbuf_path_info *info);
void p2pbuf_flush_release(struct p2pbuf_attachment *att);

/* cpu.c */
int p2pbuf_cpu_init(void);
void p2pbuf_cpu_exit(void);

/* attachment.c */
int p2pbuf_attachments_init(void);
void p2pbuf_attachments_exit(void);
void p2pbuf_attachments_show(struct seq_file *s);

#endif /* P2PBUF_CORE_PRIVATE_H */
