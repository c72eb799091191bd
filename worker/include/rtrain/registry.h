// How a training library registers its training functions.
//   void train_func(const rtrain::Config& config) { ... }
//   RTRAIN_TRAIN_FUNCTION(train_func);
#pragma once

#include <rtrain/config.h>
#include <rtrain/export.h>
#include <rtrain/version.h>

#include <torch/version.h>
#include <nlohmann/json.hpp>

#include <concepts>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#define RTRAIN_TEXT_OF_(x) #x
#define RTRAIN_TEXT_OF(x) RTRAIN_TEXT_OF_(x)
#define RTRAIN_JOIN_(a, b) a##b
#define RTRAIN_JOIN(a, b) RTRAIN_JOIN_(a, b)

/// The versions that a library and the worker that loads it must share. The tag is text in the library's
/// file, so that a worker can refuse the library before any of its code runs.
#define RTRAIN_ABI_TAG \
  "rtrain-abi: rtrain " RTRAIN_SDK_VERSION ", LibTorch " TORCH_VERSION ", nlohmann/json " RTRAIN_TEXT_OF(NLOHMANN_JSON_VERSION_MAJOR) "." \
      RTRAIN_TEXT_OF(NLOHMANN_JSON_VERSION_MINOR) "." RTRAIN_TEXT_OF(NLOHMANN_JSON_VERSION_PATCH) ", C++11 ABI " RTRAIN_TEXT_OF(_GLIBCXX_USE_CXX11_ABI)

extern "C" {
/// `config`: a const rtrain::Config*. `return_value`: a nlohmann::json*. Both are accessed only if the tags
/// match.
typedef void (*rtrain_train_function)(const void* config, void* return_value);
/// Called by RTRAIN_TRAIN_FUNCTION when the library is loaded. It has a plain C interface so that a library
/// built with any version can be refused with a reason.
RTRAIN_API void rtrain_register_train_function(const char* abi_tag, const char* name,
                                               rtrain_train_function function);
}

namespace rtrain {

namespace detail {

template <class R>
inline constexpr bool kIsJsonValue = std::is_void_v<R> || std::constructible_from<nlohmann::json, R>;

/// True for a training function: it takes (const Config&) or nothing and returns nothing or a value that JSON
/// can hold.
template <class F>
consteval bool is_train_function() {
  constexpr bool takes_config = std::invocable<F&, const Config&>;
  constexpr bool callable = takes_config || std::invocable<F&>;
  static_assert(
      callable,
      "a training function takes (const rtrain::Config&) or nothing; config.json() gives the JSON itself");
  if constexpr (callable) {
    constexpr bool json = [] {
      if constexpr (takes_config)
        return kIsJsonValue<std::invoke_result_t<F&, const Config&>>;
      else
        return kIsJsonValue<std::invoke_result_t<F&>>;
    }();
    static_assert(json,
                  "a training function returns nothing, or what nlohmann::json can hold: a number, a string, "
                  "a list, a map, "
                  "or a type with a to_json() of its own");
    return json;
  }
  return callable;
}

template <class F>
nlohmann::json call_train_function(F& function, const Config& config) {
  const auto to_json = [](auto&& call) -> nlohmann::json {
    if constexpr (std::is_void_v<decltype(call())>) {
      call();
      return nullptr;
    } else {
      return nlohmann::json(call());
    }
  };
  if constexpr (std::invocable<F&, const Config&>)
    return to_json([&]() -> decltype(auto) { return function(config); });
  else
    return to_json([&]() -> decltype(auto) { return function(); });
}

/// `Function`: the address of a function or of a callable object with static storage (a lambda).
template <auto Function>
void registered_train_function(const void* config, void* return_value) {
  if constexpr (is_train_function<std::remove_pointer_t<decltype(Function)>>())
    *static_cast<nlohmann::json*>(return_value) =
        call_train_function(*Function, *static_cast<const Config*>(config));
}

}  // namespace detail

/// Any training function that TorchTrainer accepts: a function, a lambda or a std::function.
class RTRAIN_API TrainFunction {
 public:
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, TrainFunction>)
  TrainFunction(F function) {  // NOLINT: implicit on purpose
    if constexpr (detail::is_train_function<F>())
      call_ = [f = std::move(function)](const Config& config) mutable {
        return detail::call_train_function(f, config);
      };
  }
  [[nodiscard]] nlohmann::json operator()(const Config& config) const { return call_(config); }

 private:
  std::function<nlohmann::json(const Config&)> call_;
};

}  // namespace rtrain

/// Registers `function` (or a named lambda) under its own name, to which job.json refers as train_func.name
/// (optional if it is the only one).
#define RTRAIN_TRAIN_FUNCTION(function) RTRAIN_TRAIN_FUNCTION_NAMED(function, #function)
/// The same under another name.
#define RTRAIN_TRAIN_FUNCTION_NAMED(function, name)                                               \
  [[maybe_unused]] static const bool RTRAIN_JOIN(rtrain_registered_, __COUNTER__) =               \
      (::rtrain_register_train_function(RTRAIN_ABI_TAG, name,                                     \
                                        &::rtrain::detail::registered_train_function<&function>), \
       true)
