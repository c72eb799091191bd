#include <rtrain/callback.h>

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <typeinfo>

namespace rtrain {

std::string Callback::state_key() const {
  int failed = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(typeid(*this).name(), nullptr, nullptr, &failed), &std::free);
  return failed == 0 ? name.get() : typeid(*this).name();
}

std::vector<AnyCallback> callbacks_from(const nlohmann::json& list) {
  std::vector<AnyCallback> all;
  for (auto& callback : Names<Callback>::all_from_json(list)) all.emplace_back(std::move(callback));
  return all;
}

}  // namespace rtrain
