#include "worker/precision/cast.h"

#include <c10/core/DefaultDtype.h>
#include <c10/core/ScalarTypeToTypeMeta.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/nn/module.h>

namespace rtrain {
namespace {

class DefaultDtypeScope {
 public:
  explicit DefaultDtypeScope(torch::ScalarType dtype) : before_(c10::get_default_dtype_as_scalartype()) {
    c10::set_default_dtype(c10::scalarTypeToTypeMeta(dtype));
  }
  ~DefaultDtypeScope() { c10::set_default_dtype(c10::scalarTypeToTypeMeta(before_)); }
  DefaultDtypeScope(const DefaultDtypeScope&) = delete;
  DefaultDtypeScope& operator=(const DefaultDtypeScope&) = delete;

 private:
  torch::ScalarType before_;
};

}  // namespace

void cast_module(torch::nn::Module& module, torch::ScalarType dtype) {
  const torch::NoGradGuard no_grad;
  const auto cast = [dtype](torch::Tensor tensor) {
    if (!tensor.is_floating_point() || tensor.scalar_type() == dtype) return;
    tensor.mutable_grad().reset();
    tensor.set_data(tensor.to(dtype));
  };
  for (const auto& parameter : module.parameters()) cast(parameter);
  for (const auto& buffer : module.buffers()) cast(buffer);
}

Batch cast_input(Batch batch, torch::ScalarType dtype) {
  batch.for_each_tensor([dtype](torch::Tensor& tensor) {
    if (tensor.is_floating_point()) tensor = tensor.to(dtype);
  });
  return batch;
}

PrecisionScope default_dtype_scope(torch::ScalarType dtype) {
  return std::make_shared<DefaultDtypeScope>(dtype);
}

}  // namespace rtrain
