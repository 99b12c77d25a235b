/* The tensors an architecture needs: their names in both formats, their shapes, and finding them. */
#ifndef QAIO_CHECKPOINT_ROLES_H
#define QAIO_CHECKPOINT_ROLES_H

#include "checkpoint/checkpoint.h"
#include "checkpoint/tensor_list.h"

typedef enum tensor_naming { NAMES_HF, NAMES_GGUF } tensor_naming;

#define TENSOR_NAME_BYTES 80

/* "model.layers.3.self_attn.q_proj.weight", "blk.3.attn_q.weight"; layer ignored for the last three roles. */
void role_name(char out[TENSOR_NAME_BYTES], tensor_naming naming, tensor_role role, size_t layer);
/* Whether the architecture has it; the head is not asked for when it is tied. */
bool role_is_used(tensor_role role, const model_desc *desc);
bool role_is_vector(tensor_role role);

/* Where (role, layer) stands in an array of roles_count() tensors. */
size_t role_index(const model_desc *desc, tensor_role role, size_t layer);
size_t roles_count(const model_desc *desc);

/* Fills out[roles_count()] (zeroed) from the list; a missing tensor, a wrong shape or type is refused by name.  A tied head becomes the
 * embedding. */
qaio_status roles_bind(tensor *out, const tensor_list *found, const model_desc *desc, tensor_naming naming, const char *path,
                       qaio_error *err);

#endif
