// A training library built against another version of the SDK. Its constructors must not run in a worker.
#include <cstdlib>

extern "C" void rtrain_register_train_function(const char* abi_tag, const char* name,
                                               void (*function)(const void*, void*));

namespace {

const bool registered = (rtrain_register_train_function(
                             "rtrain-abi: rtrain 0.0.1, LibTorch 1.13.0, nlohmann/json 3.9.0, C++11 ABI 0",
                             "train_func", nullptr),
                         std::abort(), true);

}  // namespace
