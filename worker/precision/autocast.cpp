#include <rtrain/amp.h>

#include <ATen/autocast_mode.h>

#include <stdexcept>
#include <string>

namespace rtrain {

AutocastScope::AutocastScope(torch::DeviceType device, torch::ScalarType dtype, bool cache)
    : device_(device),
      enabled_before_(at::autocast::is_autocast_enabled(device)),
      cache_before_(at::autocast::is_autocast_cache_enabled()),
      dtype_before_(at::autocast::get_autocast_dtype(device)) {
  if (dtype != torch::kBFloat16 && dtype != torch::kHalf) {
    throw std::invalid_argument(std::string("AutocastScope: dtype is ") + c10::toString(dtype) +
                                ", expected BFloat16 or Half");
  }
  at::autocast::set_autocast_enabled(device, true);
  at::autocast::set_autocast_dtype(device, dtype);
  at::autocast::set_autocast_cache_enabled(cache);
  at::autocast::increment_nesting();
}

AutocastScope::~AutocastScope() {
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_cache_enabled(cache_before_);
  at::autocast::set_autocast_dtype(device_, dtype_before_);
  at::autocast::set_autocast_enabled(device_, enabled_before_);
}

}  // namespace rtrain
