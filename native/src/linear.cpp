// oneDNN's linear layer with a matrix that is laid out for it once, through libtorch's dispatcher.

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <cstring>
#include <exception>
#include <optional>
#include <string_view>

namespace {

using Reorder = at::Tensor(const at::Tensor &, std::optional<c10::SymInt>);
using Pointwise = at::Tensor(const at::Tensor &, const at::Tensor &, const std::optional<at::Tensor> &,
                             std::string_view, c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

const c10::TypedOperatorHandle<Reorder> &reorder() {
  static const auto handle = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
                                 .typed<Reorder>();
  return handle;
}

const c10::TypedOperatorHandle<Pointwise> &pointwise() {
  static const auto handle = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
                                 .typed<Pointwise>();
  return handle;
}

// Exceptions do not cross into Rust: what they say does, for the caller to free.
template <typename Body> at::Tensor *guarded(char **error, Body body) {
  try {
    return new at::Tensor(body());
  } catch (const std::exception &exception) {
    *error = strdup(exception.what());
  } catch (...) {
    *error = strdup("unknown failure");
  }
  return nullptr;
}

} // namespace

extern "C" {

// `matrix` `[outputs, inputs]` laid out for batches of about `rows` vectors.
at::Tensor *tch_transformers_prepack(const at::Tensor *matrix, int64_t rows, char **error) {
  return guarded(error, [&] { return reorder().call(*matrix, c10::SymInt(rows)); });
}

// `x` times the transpose of what `tch_transformers_prepack` made, plus `bias` unless that is null.
at::Tensor *tch_transformers_linear(const at::Tensor *x, const at::Tensor *prepacked, const at::Tensor *bias,
                                    char **error) {
  return guarded(error, [&] {
    const auto added = bias ? std::optional<at::Tensor>(*bias) : std::nullopt;
    const c10::List<std::optional<at::Scalar>> scalars;
    return pointwise().call(*x, *prepacked, added, "none", scalars, "");
  });
}
}
