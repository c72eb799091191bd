// A group of ranks in what autograd keeps between forward and backward.
#pragma once

#include <rtrain/parallel/group.h>

#include <ATen/core/ivalue.h>
#include <torch/custom_class.h>

namespace rtrain::parallel {

class CarriedGroup final : public torch::CustomClassHolder {
 public:
  explicit CarriedGroup(Group of) : group(std::move(of)) {}
  [[nodiscard]] static c10::IValue pack(const Group& group) {
    return c10::IValue::make_capsule(c10::make_intrusive<CarriedGroup>(group));
  }
  /// @pre pack() made it.
  [[nodiscard]] static Group unpack(const c10::IValue& value) {
    return static_cast<const CarriedGroup&>(*value.toCapsule()).group;
  }
  Group group;
};

}  // namespace rtrain::parallel
