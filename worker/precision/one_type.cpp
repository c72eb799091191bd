// 64-true, bf16-true and 16-true.
#include <rtrain/names.h>
#include <rtrain/precision.h>

#include <c10/core/DefaultDtype.h>
#include <c10/core/ScalarTypeToTypeMeta.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/nn/module.h>

#include <stdexcept>

namespace rtrain {
namespace {

/// New tensors without a type of their own get `dtype`. The default is the process's: other threads see it.
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

torch::ScalarType half_type(const std::string& precision) {
  if (precision == "bf16-true") return torch::kBFloat16;
  if (precision == "16-true") return torch::kHalf;
  throw std::invalid_argument("HalfPrecision: precision is \"" + precision +
                              "\", expected \"bf16-true\" or \"16-true\"");
}

struct BFloat16Precision final : HalfPrecision {
  BFloat16Precision() : HalfPrecision("bf16-true") {}
};

}  // namespace

PrecisionScope OneTypePrecision::init_scope() { return std::make_shared<DefaultDtypeScope>(dtype_); }
PrecisionScope OneTypePrecision::forward_scope(torch::Device) {
  return std::make_shared<DefaultDtypeScope>(dtype_);
}

/// In place; integers stay. Gradients of another type are dropped.
void OneTypePrecision::convert_module(torch::nn::Module& module) {
  const torch::NoGradGuard no_grad;
  const auto cast = [this](torch::Tensor tensor) {
    if (!tensor.is_floating_point() || tensor.scalar_type() == dtype_) return;
    tensor.mutable_grad().reset();
    tensor.set_data(tensor.to(dtype_));
  };
  for (const auto& parameter : module.parameters()) cast(parameter);
  for (const auto& buffer : module.buffers()) cast(buffer);
}

Batch OneTypePrecision::convert_input(Batch batch) {
  batch.for_each_tensor([this](torch::Tensor& tensor) {
    if (tensor.is_floating_point()) tensor = tensor.to(dtype_);
  });
  return batch;
}

HalfPrecision::HalfPrecision(const std::string& precision)
    : OneTypePrecision(precision, half_type(precision)) {}

RTRAIN_REGISTER(Precision, "64-true", DoublePrecision);
RTRAIN_REGISTER(Precision, "64", DoublePrecision);
RTRAIN_REGISTER(Precision, "bf16-true", BFloat16Precision);
RTRAIN_REGISTER(Precision, "16-true", HalfPrecision);

}  // namespace rtrain
