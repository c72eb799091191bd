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

}  // namespace rtrain
