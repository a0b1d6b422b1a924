// SPDX-License-Identifier: GPL-2.0
/*
 * Rules: what a buffer does when an importer calls it.
 *
 * Each call is met by the first rule for its op that does not let it pass.
 */
#include <linux/slab.h>

#include "mock.h"

static bool mock_rule_is_sane(const struct p2pbuf_mock_rule *arg)
{
	if (arg->op >= P2PBUF_MOCK_OPS || arg->action >= P2PBUF_MOCK_ACTIONS)
		return false;
	if (arg->action == P2PBUF_MOCK_FAIL)
		return arg->value <= MAX_ERRNO &&
		       (arg->value || arg->op == P2PBUF_MOCK_OP_MAP) &&
		       arg->op != P2PBUF_MOCK_OP_UNMAP &&
		       arg->op != P2PBUF_MOCK_OP_DETACH;
	if (arg->action == P2PBUF_MOCK_STALL ||
	    arg->action == P2PBUF_MOCK_TAKE_BACK)
		return true;
	return arg->op == P2PBUF_MOCK_OP_MAP;
}

int mock_rule_add(struct p2pbuf_mock_rule *arg)
{
	struct mock_buffer *buf;
	struct dma_buf *dmabuf;
	struct mock_rule *rule;

	if (!mock_rule_is_sane(arg))
		return -EINVAL;
	dmabuf = mock_buffer_get(arg->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	buf = dmabuf->priv;
	rule = kzalloc_obj(*rule);
	if (rule) {
		rule->op = arg->op;
		rule->action = arg->action;
		rule->value = arg->value;
		rule->skip = arg->skip;
		rule->times = arg->times;
		spin_lock(&buf->rules_lock);
		list_add_tail(&rule->node, &buf->rules);
		spin_unlock(&buf->rules_lock);
	}
	dma_buf_put(dmabuf);
	return rule ? 0 : -ENOMEM;
}

/* Forget all rules and wake up what stalls because of one. */
void mock_rules_clear(struct mock_buffer *buf)
{
	struct mock_rule *rule, *next;
	LIST_HEAD(rules);

	spin_lock(&buf->rules_lock);
	list_splice_init(&buf->rules, &rules);
	WRITE_ONCE(buf->rules_cleared, buf->rules_cleared + 1);
	spin_unlock(&buf->rules_lock);
	wake_up_all(&buf->wait);
	list_for_each_entry_safe(rule, next, &rules, node)
		kfree(rule);
}

/* Copies the rule that meets this call. */
static bool mock_rule_find(struct mock_buffer *buf, enum p2pbuf_mock_op op,
			   struct mock_rule *out, u32 *cleared)
{
	struct mock_rule *rule;
	bool found = false;

	spin_lock(&buf->rules_lock);
	*cleared = buf->rules_cleared;
	list_for_each_entry(rule, &buf->rules, node) {
		if (rule->op != op)
			continue;
		if (rule->skip) {
			rule->skip--;
			continue;
		}
		*out = *rule;
		found = true;
		if (rule->times && !--rule->times) {
			list_del(&rule->node);
			kfree(rule);
		}
		break;
	}
	spin_unlock(&buf->rules_lock);
	return found;
}

static int mock_rule_fence(struct mock_buffer *buf, u32 ms, u32 flags)
{
	struct mock_fence *mf;

	/* At once means in a moment: it must be pending when map returns. */
	mf = mock_fence_add_locked(buf->dmabuf, P2PBUF_MOCK_KERNEL,
				   max(ms, 1), flags);
	if (IS_ERR(mf))
		return PTR_ERR(mf);
	/* Its work has a reference of its own. */
	mock_object_put(&mf->obj);
	return 0;
}

/* Importers are told from inside of a call of one of them. */
static void mock_rule_take_back(struct mock_buffer *buf,
				enum p2pbuf_mock_op op)
{
	bool locked = op == P2PBUF_MOCK_OP_PIN || op == P2PBUF_MOCK_OP_MAP ||
		      op == P2PBUF_MOCK_OP_UNMAP;

	if (!locked)
		dma_resv_lock(buf->dmabuf->resv, NULL);
	mock_buffer_take_back_locked(buf, -ENODEV);
	mock_buffer_invalidate_locked(buf);
	if (!locked)
		dma_resv_unlock(buf->dmabuf->resv);
}

/**
 * mock_rules_apply - what happens before an op does its work
 * @buf: the buffer
 * @op: the op; the resv is held or not, as the op has it
 *
 * Return: 0; -errno to fail with; MOCK_RETURN_NULL.
 */
int mock_rules_apply(struct mock_buffer *buf, enum p2pbuf_mock_op op)
{
	struct mock_rule rule;
	u32 cleared;

	if (!mock_rule_find(buf, op, &rule, &cleared))
		return 0;
	switch (rule.action) {
	case P2PBUF_MOCK_FAIL:
		return rule.value ? -(int)rule.value : MOCK_RETURN_NULL;
	case P2PBUF_MOCK_STALL:
		wait_event_timeout(buf->wait,
				   READ_ONCE(buf->rules_cleared) != cleared,
				   msecs_to_jiffies(rule.value));
		return 0;
	case P2PBUF_MOCK_STALL_SIGNAL:
		return wait_event_interruptible_timeout(buf->wait,
				READ_ONCE(buf->rules_cleared) != cleared,
				msecs_to_jiffies(rule.value)) < 0 ?
		       -ERESTARTSYS : 0;
	case P2PBUF_MOCK_FENCE:
		return mock_rule_fence(buf, rule.value, 0);
	case P2PBUF_MOCK_FENCE_RESV:
		return mock_rule_fence(buf, rule.value,
				       P2PBUF_MOCK_NEEDS_RESV);
	case P2PBUF_MOCK_RELOCATE:
		return mock_buffer_relocate_locked(buf, rule.value);
	case P2PBUF_MOCK_TAKE_BACK:
		mock_rule_take_back(buf, op);
		return 0;
	default:
		return 0;
	}
}
