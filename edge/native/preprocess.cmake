# The letterbox for GPUs, a fat binary beside the module; edge/engines/tensorrt/sampling.py loads it. It takes an nvcc,
# but neither a GPU nor CUDA's libraries. AUTO builds it where an nvcc works and says so where none does; ON insists.
set(REMOTECLIP_CUDA AUTO CACHE STRING "Build the CUDA kernels: AUTO, ON or OFF")
set_property(CACHE REMOTECLIP_CUDA PROPERTY STRINGS AUTO ON OFF)
if(REMOTECLIP_CUDA)
  find_program(REMOTECLIP_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_ROOT PATHS /usr/local/cuda PATH_SUFFIXES bin)
  set(cuda_problem "there is no nvcc")
  if(REMOTECLIP_NVCC)
    # Machine code for Jetson Orin, Hopper and Jetson Thor, and PTX that the driver compiles for any other GPU that
    # TensorRT runs on: from compute capability 7.5 up.
    execute_process(COMMAND "${REMOTECLIP_NVCC}" --list-gpu-arch OUTPUT_VARIABLE cuda_known ERROR_QUIET)
    string(REGEX MATCHALL "[0-9]+" cuda_known "${cuda_known}")
    set(cuda_flags -std=c++17 -O3)
    foreach(arch IN LISTS cuda_known)
      if(arch MATCHES "^(87|90|110)$")
        list(APPEND cuda_flags -gencode "arch=compute_${arch},code=sm_${arch}")
      endif()
      if(NOT arch LESS 75 AND (NOT cuda_ptx OR arch LESS cuda_ptx))
        set(cuda_ptx ${arch})
      endif()
    endforeach()
    list(APPEND cuda_flags -gencode "arch=compute_${cuda_ptx},code=compute_${cuda_ptx}")
    # An nvcc may be there and not take the compiler that is.
    file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/nothing.cu" "extern \"C\" __global__ void nothing() {}\n")
    execute_process(
      COMMAND "${REMOTECLIP_NVCC}" --fatbin ${cuda_flags} -o nothing.fatbin nothing.cu
      WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}"
      RESULT_VARIABLE cuda_failed OUTPUT_VARIABLE cuda_output ERROR_VARIABLE cuda_output)
    set(cuda_problem "")
    if(cuda_failed)
      set(cuda_problem "${REMOTECLIP_NVCC} does not work: ${cuda_output}")
    endif()
  endif()
  if(NOT cuda_problem)
    set(cuda_fatbin "${CMAKE_CURRENT_BINARY_DIR}/preprocess.fatbin")
    add_custom_command(
      OUTPUT "${cuda_fatbin}"
      COMMAND "${REMOTECLIP_NVCC}" --fatbin ${cuda_flags} -o "${cuda_fatbin}"
              "${CMAKE_CURRENT_LIST_DIR}/preprocess.cu"
      DEPENDS "${CMAKE_CURRENT_LIST_DIR}/preprocess.cu" "${CMAKE_CURRENT_LIST_DIR}/preprocess.hpp"
      COMMENT "Compiling the CUDA kernels" VERBATIM)
    add_custom_target(cuda_kernels ALL DEPENDS "${cuda_fatbin}")
    install(FILES "${cuda_fatbin}" DESTINATION edge/native)
    message(STATUS "CUDA kernels: ${REMOTECLIP_NVCC} ${cuda_flags}")
  elseif(REMOTECLIP_CUDA STREQUAL "AUTO")
    message(STATUS "CUDA kernels: not built, ${cuda_problem}")
  else()
    message(FATAL_ERROR "REMOTECLIP_CUDA is ${REMOTECLIP_CUDA}, but ${cuda_problem}")
  endif()
endif()
